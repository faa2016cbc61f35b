"""How much somebody may do: token buckets, as many as there are tenants and devices, in bounded memory."""

from collections.abc import Hashable
from typing import Final

MOST: Final = 200_000
"""Buckets remembered, some 150 bytes each; the one used longest ago goes first, and is full when it comes back."""
BURST_SECONDS: Final = 10
"""What a device saved up while its link was gone goes through at once, up to so many seconds' worth."""


class Buckets:
    """A token bucket for each key, kept as the time at which it will be full again (the generic cell rate algorithm of ATM)."""

    def __init__(self, per_second: float, burst: float, most: int = MOST) -> None:
        """`burst`: what a full one holds. No rate, 0, is no limit."""
        self._seconds = 1 / per_second if per_second else 0.0
        self._burst = burst
        self._most = most
        self._full_at: dict[Hashable, float] = {}

    def room(self, key: Hashable, wanted: int, now: float) -> int:
        """How many of those wanted there are tokens for; `now` in seconds of a clock that does not go back."""
        if not self._seconds:
            return wanted
        missing = max(self._full_at.get(key, now) - now, 0.0) / self._seconds
        # what is a rounding error short of a token is one
        return max(0, min(wanted, int(self._burst - missing + 1e-6)))

    def take(self, key: Hashable, count: int, now: float) -> None:
        """Take tokens out. A negative count gives them back."""
        full_at = max(self._full_at.pop(key, now), now) + count * self._seconds
        if full_at > now:
            self._full_at[key] = full_at
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]


class Rates:
    """What tenants and their devices may send."""

    def __init__(self, tenant_rate: float, device_rate: float) -> None:
        """Messages a second each; 0: no limit."""
        self._tenants = Buckets(tenant_rate, tenant_rate * BURST_SECONDS)
        self._devices = Buckets(device_rate, device_rate * BURST_SECONDS)

    def admit(self, tenant: str, device: str, wanted: int, now: float) -> int:
        """How many of a sender's messages may pass now: the first ones, so that the others follow them in their order."""
        owner = (tenant, device)
        passing = self._devices.room(owner, self._tenants.room(tenant, wanted, now), now)
        if passing:
            self._tenants.take(tenant, passing, now)
            self._devices.take(owner, passing, now)
        return passing
