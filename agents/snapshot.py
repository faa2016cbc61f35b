"""What a watch knows at one instant of its log, for those who ask while it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Snapshot:
    """The windows' keys after a fold. Frames are never changed, so any thread may look at it."""

    fence: int
    """Offset of the next record."""
    stream_time: int
    """Greatest event time so far, in milliseconds."""
    panes: Mapping[int, pl.DataFrame]
    trends: pl.DataFrame
    reached: int
    """Event time (ms) up to which panes are in the trends."""
