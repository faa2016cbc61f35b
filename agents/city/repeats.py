"""Messages that came before, told by who sent them, where to, and under which name; a window of the log of one partition.

The gateway leaves out what it remembers; what it took twice all the same, as after it was killed, is left out here. The log itself is the
state: whoever takes a partition over reads the window again.
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

WINDOW: Final = 20_000
"""Records of a partition: half a minute of a gateway's full rate, the better part of an hour of a city of 5,000 devices. 16 bytes each."""

_SCHEMA: Final = {"mark": pl.UInt64, "offset": pl.Int64}


def origin(topic: str, partition: int, identity: str) -> str:
    """What offsets are counted in; a topic that is made anew has another `identity`, Kafka's id of it, "" without."""
    return f"{topic}-{partition}@{identity}" if identity else f"{topic}-{partition}"


@dataclass
class Repeats:
    """The latest messages of one partition."""

    origin: str
    end: int
    """Offset of the next record."""
    _seen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=_SCHEMA))

    def take(self, envelopes: pl.DataFrame, end: int) -> pl.Series:
        """Which of the envelopes, which have their `offset`, came before within the window; `end` is the offset behind their batch."""
        mark = pl.struct("device_id", "original_topic", "message_id").hash().alias("mark")
        rows = pl.concat([self._seen, envelopes.select(mark, "offset")])
        again = rows.select((pl.col("offset") - pl.col("offset").shift(1).over("mark") <= WINDOW).fill_null(value=False)).to_series()
        came_before = again.tail(envelopes.height)
        self.end = end
        self._seen = rows.filter(pl.col("offset") >= end - WINDOW)
        return came_before
