"""Which messages came before: a window bounded in number and in time."""

from typing import Final

MOST: Final = 200_000
"""Messages remembered at least, some 200 bytes each; at most twice as many."""
WINDOW_MS: Final = 600_000
"""A device that was not told within ten minutes has started anew."""


class Duplicates:
    """Marks of the messages that were taken, in two generations: forgetting one by one from the front of a dict takes ever longer."""

    def __init__(self, most: int = MOST, window_ms: int = WINDOW_MS) -> None:
        self._new: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._most = most
        self._window_ms = window_ms

    def take(self, mark: str | None, now_ms: int) -> bool:
        """Remember a mark; whether it is new. None always is."""
        if mark is None:
            return True
        taken_at = self._new.get(mark) or self._old.get(mark)
        if taken_at is not None and now_ms - taken_at < self._window_ms:
            return False
        if len(self._new) >= self._most:
            self._old, self._new = self._new, {}
        self._new[mark] = now_ms
        return True

    def __contains__(self, mark: object) -> bool:
        """Whether a mark is remembered."""
        return mark in self._new or mark in self._old

    def forget(self, mark: str | None) -> None:
        """The message was not taken after all: sent again, it is new."""
        if mark is not None:
            self._new.pop(mark, None)
            self._old.pop(mark, None)
