"""How long to wait: as long as something moves."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Final

POLL_SECONDS: Final = 0.1


class Patience:
    """Gives up on what has not changed for some seconds; what changes, however slowly, is waited for."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._state: Hashable = None
        self._since = clock()

    def lasts(self, state: Hashable) -> bool:
        """Whether to go on waiting for what looks like this now."""
        if state != self._state:
            self._state, self._since = state, self._clock()
        return self.still < self.seconds

    async def run_down(self, count: Callable[[], int]) -> int:
        """Wait until there are none; how many are left if that is not to be."""
        while left := count():
            if not self.lasts(left):
                return left
            await asyncio.sleep(POLL_SECONDS)
        return 0

    @property
    def still(self) -> float:
        """Seconds since the last change."""
        return self._clock() - self._since
