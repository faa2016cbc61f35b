"""Records of the log to readings: all that changes no state, for several batches at once.

A pass costs a millisecond however few the records are, and at low rates a batch holds fifty: so those that arrive together share one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any, Protocol

import numpy as np
import polars as pl

from agents.alerts import evaluated
from agents.episodes import Episodes
from agents.limits import Limits
from agents.rules import Rule
from schemas.catalog import Contract
from schemas.rejects import Reject
from schemas.wire import Codec, decode
from tables.windows import Windowing


class Records(Protocol):
    """Consecutive records of one partition; a `streams.batches.Batch` is one. Columns of equal length, timestamps in milliseconds."""

    topic: str
    partition: int
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: list[int]
    offsets: list[int]


class State(Protocol):
    """What has been made of a partition so far; an `agents.watch.Watch` is one."""

    fence: int
    episodes: Episodes


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What a domain adds to the loop: how its records become readings, its rules and its windows."""

    name: str
    source: Contract
    """The raw topic."""
    fields: tuple[str, ...]
    """Fields of the record that its meaning depends on; the others are not carried along."""
    rules: Sequence[Rule]
    windowing: Windowing
    prepare: Callable[[pl.DataFrame], tuple[pl.DataFrame, list[Reject]]]
    """The decoded `fields` with `row`, `key` and `arrival` (Kafka timestamp, ms), and with their limits if the domain has any → readings
    and rejects.

    One of a field `historical` is whether a reading is of the past by its device's word: it raises historic alerts alone.

    Readings keep those columns and have `device_id`, `subject`, `value` and `timestamp`, and whatever the rules look at. The order of
    the log is kept, and what becomes of a record depends on that record alone.
    """
    trend_rules: Sequence[Rule] = ()
    """Rules over the trends of the windows' keys, once a pane."""
    prepare_trends: Callable[[pl.DataFrame], pl.DataFrame] = lambda trends: trends
    """Trends (`tables.trends.SCHEMA`, `timestamp` of the pane's end, `value`, `silent_ms`, `constant_ms`) → what their rules look at.

    Rows and columns are kept; `device_id` and `subject` are there.
    """
    trend_windows_ms: Sequence[int] = ()
    """Windows whose means rules over trends look at besides the latest pane's: `mean_<seconds>` and `panes_<seconds>`, see
    `tables.windows.mean_until`."""
    limits: Limits | None = None
    """Of its sensor types, where its records have a `sensor_type`; it then is the `subject`."""

    @property
    def units(self) -> dict[str, str]:
        """Of its sensor types, as far as they have any."""
        return {row["name"]: row["unit"] for row in self.limits.rows if row["unit"]} if self.limits else {}

    def sort_out(self, records: pl.DataFrame) -> tuple[pl.DataFrame, list[Reject]]:
        """Records as `prepare` takes them, but for their limits → readings and rejects."""
        return self.prepare(self.limits.when_taken(records) if self.limits else records)

    def view(self, trends: pl.DataFrame) -> pl.DataFrame:
        """Trends as `prepare_trends` takes them, but for their limits → what rules over trends look at."""
        return self.prepare_trends(self.limits.latest(trends) if self.limits else trends)


@dataclass(frozen=True)
class Read:
    """What the records of a batch say."""

    batch: Records
    rules: Sequence[Rule]
    """Those whose columns `readings` has."""
    received: int
    """How many lie at the fence or above; the others are neither readings nor rejects."""
    readings: pl.DataFrame
    """As prepared by the domain and `agents.alerts.evaluated`; `row` counts from the head of the batch."""
    rejects: list[Reject]


def below(batch: Records, fence: int) -> int:
    """How many records at the head of a batch lie below the fence."""
    return 0 if batch.offsets[0] >= fence else sum(offset < fence for offset in batch.offsets)


def read(
    domain: Domain, batches: Sequence[tuple[Records, State]], writers: Mapping[int, Codec], missing: Set[int]
) -> list[Read] | frozenset[int]:
    """What each of the batches says, of which the records below the fence are skipped; or the schema ids to be fetched first.

    `writers` are the schemas known by id, `missing` the ids the registry does not have. Raises what a rule raises.
    """
    skips = [below(batch, state.fence) for batch, state in batches]
    decoded = decode(_column("values", batches, skips), domain.source.codec, writers, missing)
    if decoded.unknown:
        return decoded.unknown
    row = decoded.frame["row"]
    key = pl.Series("key", _column("keys", batches, skips), dtype=pl.Binary)
    arrival = pl.Series("arrival", _column("timestamps", batches, skips), dtype=pl.Int64)
    if len(row) < len(key):
        key, arrival = key.gather(row), arrival.gather(row)
    readings, unfit = domain.sort_out(pl.DataFrame([*(decoded.frame[name] for name in domain.fields), row, key, arrival]))
    readings = evaluated(domain.rules, readings, (state.episodes for _, state in batches))
    received = [len(batch.offsets) - skip for (batch, _), skip in zip(batches, skips, strict=True)]
    bounds = [0, *accumulate(received)]
    return [
        Read(batch, domain.rules, count, *_part(readings, [*decoded.rejects, *unfit], start, end, skip))
        for (batch, _), skip, count, (start, end) in zip(batches, skips, received, pairwise(bounds), strict=True)
    ]


def _column(name: str, batches: Iterable[tuple[Records, State]], skips: Sequence[int]) -> list[Any]:
    """A column of all batches, one after another, without what is skipped."""
    parts = [getattr(batch, name) for batch, _ in batches]
    return parts[0] if len(parts) == 1 and not skips[0] else list(chain(*(part[skip:] for part, skip in zip(parts, skips, strict=True))))


def _part(readings: pl.DataFrame, rejects: Iterable[Reject], start: int, end: int, skip: int) -> tuple[pl.DataFrame, list[Reject]]:
    """Rows `start` to `end`, counted from the head of their batch, of which `skip` records were left out."""
    first, last = np.searchsorted(readings["row"].to_numpy(), [start, end])
    part = readings.slice(first, last - first)
    part.replace_column(part.get_column_index("row"), part["row"] - start + skip)
    return part, [replace(reject, row=reject.row - start + skip) for reject in rejects if start <= reject.row < end]
