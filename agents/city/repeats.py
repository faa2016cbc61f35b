"""Messages that came before, told by who sent them, where to, and under which name; a window of the log of one partition.

The gateway leaves out what it remembers; what it took twice all the same, as after it was killed, is left out here. The log itself is the
state: whoever takes a partition over reads the window again.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

WINDOW: Final = 20_000
"""Records of a partition: half a minute of a gateway's full rate, the better part of an hour of a city of 5,000 devices. 16 bytes each."""

_NAME: Final = ("device_id", "original_topic", "message_id")


def _none() -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64)


def origin(topic: str, partition: int, identity: str) -> str:
    """What offsets are counted in; a topic that is made anew has another `identity`, Kafka's id of it, "" without."""
    return f"{topic}-{partition}@{identity}" if identity else f"{topic}-{partition}"


@dataclass
class Repeats:
    """The latest messages of one partition."""

    origin: str
    end: int
    """Offset of the next record."""
    _marks: npt.NDArray[np.int64] = field(default_factory=_none)
    """A hash of each message's name, in the order of the log."""
    _offsets: npt.NDArray[np.int64] = field(default_factory=_none)

    def take(self, envelopes: pl.DataFrame, end: int) -> pl.Series:
        """Which of the envelopes, which have their `offset`, came before within the window; `end` is the offset behind their batch."""
        names: list[list[Any]] = [envelopes[name].to_list() for name in _NAME]
        new = np.fromiter(map(hash, zip(*names, strict=True)), np.int64, count=envelopes.height)
        marks, offsets = np.concatenate([self._marks, new]), np.concatenate([self._offsets, envelopes["offset"].to_numpy()])
        # A walk over those whose mark a new one has, which are the new ones and few more: few messages come at a time.
        near, latest, came_before = np.isin(marks, new), dict[int, int](), list[bool]()
        for mark, offset in zip(marks[near].tolist(), offsets[near].tolist(), strict=True):
            came_before.append(mark in latest and offset - latest[mark] <= WINDOW)
            latest[mark] = offset
        self.end = end
        first = np.searchsorted(offsets, end - WINDOW)
        self._marks, self._offsets = marks[first:], offsets[first:]
        return pl.Series(came_before[len(came_before) - envelopes.height :], dtype=pl.Boolean)
