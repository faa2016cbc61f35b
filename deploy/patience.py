"""How long to wait: as long as something moves."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

POLL_SECONDS: Final = 0.1
AGAIN_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 180.0
"""From servers that run: a busy machine."""

Answer = TypeVar("Answer")


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


def answered(
    ask: Callable[[], Answer],
    away: type[Exception] | tuple[type[Exception], ...],
    report: Callable[[str], None],
    seconds: float = ANSWER_SECONDS,
) -> Answer:
    """What `ask` gives, asked again while it raises what means that nobody answers; that, if it goes on for so long."""
    patience = Patience(seconds)
    while True:
        try:
            return ask()
        except away as error:
            if not patience.lasts(None):
                raise
            report(f"no answer yet, asking again: {error}")
            time.sleep(AGAIN_SECONDS)
