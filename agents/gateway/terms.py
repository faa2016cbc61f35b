"""On what terms devices are let in and waited for: one word for all, and others for tenants or device types."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SILENCE_SECONDS: Final = 900


class Policy(StrEnum):
    """What becomes of the messages of a device that nobody registered."""

    ACCEPT = "accept"
    """It is registered by its first message."""
    QUARANTINE = "quarantine"
    """They go to the topic `iot.quarantine`."""
    REJECT = "reject"
    """They are dead letters."""


@dataclass(frozen=True)
class Terms:
    """What an operator set."""

    unknown: Policy = Policy.ACCEPT
    unknown_of: dict[str, Policy] = field(default_factory=dict)
    """By tenant."""
    silence_ms: int = SILENCE_SECONDS * 1000
    """How long a device that is online may say nothing."""
    silence_ms_of: dict[str, int] = field(default_factory=dict)
    """By device type."""

    @classmethod
    def of(cls, unknown: str, silence: str) -> "Terms":
        """Of two settings, `accept,acme=reject` and `900,manhole_cover=86400`; what is not said is as it is without them."""
        policies = {name: Policy(word) for name, word in _pairs(unknown)}
        silences = {name: int(seconds) * 1000 for name, seconds in _pairs(silence)}
        return cls(policies.pop("", Policy.ACCEPT), policies, silences.pop("", SILENCE_SECONDS * 1000), silences)

    def policy(self, tenant: str) -> Policy:
        """That of a tenant's unknown devices."""
        return self.unknown_of.get(tenant, self.unknown)

    def patience_ms(self, device_type: str) -> int:
        """How long a device of the type may say nothing."""
        return self.silence_ms_of.get(device_type, self.silence_ms)


def _pairs(text: str) -> list[tuple[str, str]]:
    halves = (part.rpartition("=") for part in text.split(",") if part)
    return [(name, word) for name, _, word in halves]
