"""Windows in event time over panes: one fold a reading, hopping windows merged from the panes they cover.

A pane holds the aggregate of each key over `pane_ms` of event time; a tumbling window is one pane, a hopping window of n panes
starts with every pane. The watermark of a partition is the greatest event time so far less `disorder_ms`; a window closes when the
watermark reaches its end. A later reading within `lateness_ms` of its pane's end corrects the windows it belongs to, after that
it is late. A window's revision is its count of readings: as they enter in the order of the log, count and content determine each
other, wherever batches and checkpoints fall, and a more complete result always has the higher revision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tables import aggregates

Milliseconds = npt.NDArray[np.int64]
Times = TypeVar("Times", Milliseconds, pl.Expr)
Panes = Mapping[int, pl.DataFrame]
"""Pane start in milliseconds → keys and their aggregates."""


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """Which windows a domain keeps. Window lengths are multiples of the pane; times are milliseconds."""

    keys: tuple[str, ...]
    pane_ms: int
    windows_ms: tuple[int, ...]
    disorder_ms: int
    """How far readings of one partition may be out of order before a window closes too early."""
    lateness_ms: int
    """How long after its pane's end a reading is still folded in."""
    places: tuple[str, str] | None = None
    """Fields of a reading's origin and of its position there, which only grows, where a topic is made of others: a redelivery is told
    by these (`agents/replays.py`), and two readings of one time are two. None: it is told by its event time."""

    @property
    def patience_ms(self) -> int:
        """How far behind the stream's time a pane's end may be for the pane to take readings."""
        return self.disorder_ms + self.lateness_ms

    @property
    def retention_ms(self) -> int:
        """How long after its start a pane can still change or be part of a result."""
        return max(self.windows_ms) + self.lateness_ms

    def pane_of(self, timestamp: Times) -> Times:
        """Start of the pane the event time falls in."""
        return timestamp // self.pane_ms * self.pane_ms


def stream_time(before: int, timestamp: Milliseconds, arrival: Milliseconds) -> Milliseconds:
    """Greatest event time up to each record, `before` that of the records before these.

    A clock that runs ahead counts no further than the record's arrival at the broker, or one device would make all others late.
    """
    return np.maximum(np.maximum.accumulate(np.minimum(timestamp, arrival)), before)


@dataclass(frozen=True)
class Folded:
    """What a fold changed: whole panes by their start, sorted by key, and how many readings were duplicates."""

    panes: dict[int, pl.DataFrame]
    duplicates: int


def fold(spec: Windowing, panes: Panes, readings: pl.DataFrame) -> Folded:
    """Fold readings in: a frame of the keys, `value`, `timestamp` and `pane`, in the order of the log.

    A duplicate repeats the event time of its key's newest reading in the pane, as a redelivery does; it is counted and left out.
    Readings with places have no duplicates any more.
    """
    received = readings.height
    added = _aggregate(spec, readings)
    if spec.places is None:
        newest = _newest(spec, panes, added)
        if _may_repeat(spec, readings, added, newest):
            readings = readings.filter(~_repeated(spec, readings, newest))
            added = _aggregate(spec, readings)
    changed = {}
    for (start,), part in added.drop("first_at").partition_by("pane", as_dict=True, include_key=False).items():
        merged = part
        if start in panes:
            merged = pl.concat([panes[start], part]).group_by(*spec.keys).agg(*aggregates.merge())
        changed[int(start)] = merged.sort(*spec.keys)
    return Folded(changed, received - readings.height)


def closed(spec: Windowing, panes: Panes, before: int, watermark: int, touched: pl.DataFrame) -> pl.DataFrame:
    """Results due now that the watermark went from `before` to `watermark`: windows it closed, and corrections of closed ones.

    `touched` are keys and `pane` of the readings just folded in. Columns: the keys, `window_seconds`, `window_start`, the
    aggregate, `mean`, `stddev` and `revision`.
    """
    corrections = touched.filter(pl.col("pane") + spec.pane_ms <= before).unique()
    results = []
    for end in _ends(spec, panes, watermark):
        if end <= before and corrections.is_empty():
            continue
        for length in spec.windows_ms:
            covered = [panes[s] for s in range(end - length, end, spec.pane_ms) if s in panes]
            if end <= before:
                corrected = corrections.filter(pl.col("pane").is_between(end - length, end, closed="left")).select(spec.keys).unique()
                if corrected.is_empty():
                    continue
                covered = [pane.join(corrected, on=spec.keys, how="semi") for pane in covered]
            if covered:
                results.append(_window(spec, covered, end - length, length))
    return pl.concat(results) if results else pl.DataFrame(schema=_result_schema(spec))


def pending(spec: Windowing, panes: Panes, watermark: int) -> pl.DataFrame:
    """Results of the windows that no watermark has closed yet, for a partition that fell silent; same columns as `closed`."""
    ends = [start + spec.pane_ms for start in panes if start + spec.pane_ms > watermark]
    if not ends:
        return pl.DataFrame(schema=_result_schema(spec))
    return closed(spec, panes, watermark, max(ends), pl.DataFrame(schema={"pane": pl.Int64}))


def mean_until(spec: Windowing, panes: Panes, end: int, length: int) -> pl.DataFrame:
    """The window of `length` ms that ends at `end`: keys, `mean_<seconds>`, and how many panes of it have readings, `panes_<seconds>`."""
    covered = [panes[start] for start in range(end - length, end, spec.pane_ms) if start in panes]
    empty = pl.DataFrame(schema={**dict.fromkeys(spec.keys, pl.String), **aggregates.SCHEMA})
    seconds = length // 1000
    merged = pl.concat(covered or [empty]).group_by(*spec.keys).agg(*aggregates.merge(), pl.len().cast(pl.Int64).alias("panes"))
    mean, _ = aggregates.result()
    return merged.select(*spec.keys, mean.alias(f"mean_{seconds}"), pl.col("panes").alias(f"panes_{seconds}"))


def expired(spec: Windowing, panes: Panes, watermark: int) -> list[int]:
    """Starts of the panes no result can need any more."""
    return [start for start in panes if start + spec.retention_ms <= watermark]


def _aggregate(spec: Windowing, readings: pl.DataFrame) -> pl.DataFrame:
    measures = aggregates.measure("value", "timestamp")
    return readings.group_by(*spec.keys, "pane").agg(*measures, pl.col("timestamp").min().alias("first_at"))


def _newest(spec: Windowing, panes: Panes, added: pl.DataFrame) -> pl.DataFrame:
    """Newest event time per key so far, of the panes being added to."""
    starts = [start for start in added["pane"].unique().to_list() if start in panes]
    frames = [panes[start].select(*spec.keys, pl.lit(start, pl.Int64).alias("pane"), newest="last_at") for start in starts]
    schema = {**dict.fromkeys(spec.keys, pl.String), "pane": pl.Int64, "newest": pl.Int64}
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)


def _may_repeat(spec: Windowing, readings: pl.DataFrame, added: pl.DataFrame, newest: pl.DataFrame) -> bool:
    """Whether any duplicate is possible: almost never, so the exact look at every reading is spared."""
    if readings.select(pl.struct(*spec.keys, "timestamp").hash().is_duplicated().any()).item():
        return True
    return not added.join(newest, on=[*spec.keys, "pane"]).filter(pl.col("first_at") <= pl.col("newest")).is_empty()


def _repeated(spec: Windowing, readings: pl.DataFrame, newest: pl.DataFrame) -> pl.Series:
    """Mark each reading whose event time is that of its key's newest reading before it in the pane."""
    groups = [*spec.keys, "pane"]
    rows = readings.join(newest, on=groups, how="left", maintain_order="left")
    before = pl.max_horizontal(pl.col("timestamp").cum_max().shift(1).over(groups), "newest")
    return rows.select((pl.col("timestamp") == before).fill_null(value=False)).to_series()


def _ends(spec: Windowing, panes: Panes, watermark: int) -> list[int]:
    """Ends of closed windows that cover at least one pane, ascending."""
    ends = {end for start in panes for end in range(start + spec.pane_ms, start + max(spec.windows_ms) + 1, spec.pane_ms)}
    return sorted(end for end in ends if end <= watermark)


def _window(spec: Windowing, covered: Sequence[pl.DataFrame], start: int, length: int) -> pl.DataFrame:
    merged = covered[0] if len(covered) == 1 else pl.concat(covered).group_by(*spec.keys).agg(*aggregates.merge())
    return merged.select(
        *spec.keys,
        pl.lit(length // 1000, pl.Int32).alias("window_seconds"),
        pl.lit(start, pl.Int64).alias("window_start"),
        *aggregates.SCHEMA,
        *aggregates.result(),
        pl.col("count").alias("revision"),
    )


def _result_schema(spec: Windowing) -> dict[str, pl.DataType]:
    keys: dict[str, pl.DataType] = dict.fromkeys(spec.keys, pl.String())
    window: dict[str, pl.DataType] = {"window_seconds": pl.Int32(), "window_start": pl.Int64()}
    return {**keys, **window, **aggregates.SCHEMA, "mean": pl.Float64(), "stddev": pl.Float64(), "revision": pl.Int64()}
