"""The one loop of every domain: a batch of the log in, alerts, window results and rejects out, state that survives any crash.

A `Watch` is the state of one partition and a pure function of its log: no clock, no I/O. `observe` is called for every batch and
gives what must not wait; `settle` is called for a checkpoint and gives the rest together with the state to store. Neither depends
on how the log is cut into batches or on where checkpoints fall.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import polars as pl

from agents import alerts
from agents.rules import Rule
from schemas.rejects import Reason, Reject
from schemas.wire import Codec, decode
from tables import windows
from tables.checkpoint import Checkpoint, Ledger, Recovered
from tables.windows import Windowing

logger = logging.getLogger(__name__)


class Records(Protocol):
    """Consecutive records of one partition; a `streams.batches.Batch` is one. Columns of equal length, timestamps in milliseconds."""

    topic: str
    partition: int
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: list[int]
    offsets: list[int]


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What a domain adds to the loop: how its records become readings, its rules and its windows."""

    name: str
    codec: Codec
    fields: tuple[str, ...]
    """Fields of the record that its meaning depends on; the others are not carried along."""
    rules: Sequence[Rule]
    windowing: Windowing
    prepare: Callable[[pl.DataFrame], tuple[pl.DataFrame, list[Reject]]]
    """The decoded `fields` with `row`, `key` and `arrival` (Kafka timestamp, ms) → readings and rejects.

    Readings keep those columns and have `device_id`, `subject`, `value` and `timestamp`, and whatever the rules look at.
    """


@dataclass(frozen=True)
class Observed:
    """What a batch calls for at once: alerts, rejects, and readings too late for their windows (`row`, `device_id`, …)."""

    alerts: pl.DataFrame
    rejects: list[Reject]
    late: pl.DataFrame


@dataclass(frozen=True)
class Settled:
    """What a checkpoint calls for: window results to deliver before its state, and the state."""

    windows: pl.DataFrame
    checkpoint: Checkpoint


@dataclass
class Watch:
    """The state of one partition of a domain's topic."""

    domain: Domain
    tenant: str
    fence: int = 0
    """Offset of the next record to observe; what lies below it is already in the state."""
    stream_time: int = 0
    """Greatest event time so far, in milliseconds."""
    settled_to: int = 0
    """Watermark up to which windows were closed."""
    counts: Counter[str] = field(default_factory=Counter)
    """The ledger: `received` = `accepted` + `duplicate` + `late` + every `rejected/<reason>`."""
    panes: dict[int, pl.DataFrame] = field(default_factory=dict)
    episodes: alerts.Episodes = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    _unfolded: list[pl.DataFrame] = field(default_factory=list)
    _unfolded_rows: int = 0
    _episodes_changed: bool = False

    @property
    def watermark(self) -> int:
        """Event time that no reading is expected to be behind any more."""
        return self.stream_time - self.domain.windowing.disorder_ms

    @property
    def unsettled(self) -> int:
        """Readings observed since the last checkpoint."""
        return self._unfolded_rows

    def recover(self, changelog: Mapping[bytes, bytes]) -> None:
        """Take up the latest checkpoint of a changelog. Raises `UnreadableCheckpoint`."""
        recovered = self.ledger.recover(changelog)
        if recovered is None:
            return
        self.fence = recovered.fence
        self.stream_time = recovered.facts["stream_time"]
        self.settled_to = recovered.facts["settled_to"]
        self.counts = Counter(recovered.facts["counts"])
        self._recover_families(recovered)

    def _recover_families(self, recovered: Recovered) -> None:
        for family, frame in recovered.families.items():
            if family == _EPISODES:
                self.episodes = alerts.from_frame(frame)
            else:
                self.panes[int(family.removeprefix(_PANE))] = frame.sort(*self.domain.windowing.keys)

    def observe(self, batch: Records, writers: Mapping[int, Codec], missing: Set[int]) -> Observed | frozenset[int]:
        """Take in a batch; or, before anything changes, the schema ids that have to be fetched first.

        `writers` are the schemas known by id, `missing` the ids the registry does not have. Records below the fence are skipped.
        """
        skip = _below(batch.offsets, self.fence)
        values = batch.values[skip:] if skip else batch.values
        decoded = decode(values, self.domain.codec, writers, missing)
        if decoded.unknown:
            return decoded.unknown
        rows = decoded.frame["row"] + skip
        key = pl.Series("key", batch.keys, dtype=pl.Binary)
        arrival = pl.Series("arrival", batch.timestamps, dtype=pl.Int64)
        if len(rows) < len(batch.offsets):
            key, arrival = key.gather(rows), arrival.gather(rows)
        frame = decoded.frame.select(*self.domain.fields, rows, key, arrival)
        rejects = [Reject(r.row + skip, r.reason, r.detail) for r in decoded.rejects]
        return self._judge(batch, frame, rejects, received=len(values))

    def _judge(self, batch: Records, frame: pl.DataFrame, rejects: list[Reject], *, received: int) -> Observed:
        spec, origin = self.domain.windowing, alerts.Origin(self.tenant, self.domain.name)
        readings, unfit = self.domain.prepare(frame)
        rejects += unfit
        readings = readings.with_columns(watermark=windows.stream_time(self.stream_time, "timestamp", "arrival") - spec.disorder_ms)
        # A machine whose clock or link is a little slow is still in danger now: historic is what windows, too, give up on.
        timed = readings.with_columns(pl.col("watermark") - spec.lateness_ms)
        raised = alerts.judge(self.domain.rules, self.episodes, timed, origin)
        readings = readings.with_columns(pane=spec.pane_of(pl.col("timestamp")))
        is_late = readings.select(pl.col("pane") + spec.pane_ms + spec.lateness_ms <= pl.col("watermark")).to_series()
        late = readings.filter(is_late) if is_late.any() else readings.clear()
        timely = readings.filter(~is_late) if late.height else readings
        if readings.height:
            self.stream_time = readings["watermark"][-1] + spec.disorder_ms
        self.fence = max(self.fence, batch.offsets[-1] + 1)
        self.counts["received"] += received
        self.counts["late"] += late.height
        self.counts.update(f"rejected/{reject.reason}" for reject in rejects)
        self._unfolded.append(timely.select(*spec.keys, "value", "timestamp", "pane"))
        self._unfolded_rows += received
        self._episodes_changed |= raised.height > 0
        offsets = pl.Series("offset", [batch.offsets[row] for row in late["row"]], dtype=pl.Int64)
        return Observed(raised, rejects, late.with_columns(offsets))

    def crashed(self, batch: Records, error: Exception) -> Observed:
        """Reject every record of a batch on which a rule raised: the log tells where, the dead letters keep the data."""
        logger.exception("rule_crashed topic=%s partition=%d first_offset=%d", batch.topic, batch.partition, batch.offsets[0])
        rows = range(_below(batch.offsets, self.fence), len(batch.offsets))
        self.fence = max(self.fence, batch.offsets[-1] + 1)
        self.counts.update({"received": len(rows), f"rejected/{Reason.RULE_CRASHED}": len(rows)})
        return Observed(pl.DataFrame(), [Reject(row, Reason.RULE_CRASHED, repr(error)) for row in rows], pl.DataFrame())

    def settle(self) -> Settled:
        """Fold what was observed into the windows, close those that are due, and stage the state at the fence."""
        spec, watermark = self.domain.windowing, self.watermark
        readings = pl.concat(self._unfolded) if self._unfolded else _no_readings(spec)
        self._unfolded, self._unfolded_rows = [], 0
        folded = windows.fold(spec, self.panes, readings)
        self.counts["duplicate"] += folded.duplicates
        self.counts["accepted"] += readings.height - folded.duplicates
        self.panes |= folded.panes
        results = windows.closed(spec, self.panes, self.settled_to, watermark, readings.select(*spec.keys, "pane"))
        expired = windows.expired(spec, self.panes, watermark)
        for start in expired:
            del self.panes[start]
        self.settled_to = max(self.settled_to, watermark)
        alerts.forget(self.domain.rules, self.episodes, watermark - spec.lateness_ms)
        changed = {f"{_PANE}{start}": frame for start, frame in folded.panes.items() if start in self.panes}
        if self._episodes_changed:
            changed[_EPISODES] = alerts.to_frame(self.episodes)
            self._episodes_changed = False
        facts = {"stream_time": self.stream_time, "settled_to": self.settled_to, "counts": dict(self.counts)}
        checkpoint = self.ledger.stage(self.fence, facts, changed, [f"{_PANE}{start}" for start in expired])
        return Settled(results.with_columns(closed_by=pl.lit("watermark")), checkpoint)

    def idle(self) -> pl.DataFrame:
        """Results of the windows still open, for a partition that fell silent; state does not change."""
        return windows.pending(self.domain.windowing, self.panes, self.watermark).with_columns(closed_by=pl.lit("idle"))


_PANE: Final = "pane-"
_EPISODES: Final = "episodes"


def _below(offsets: list[int], fence: int) -> int:
    """How many records at the head of a batch lie below the fence."""
    return 0 if offsets[0] >= fence else sum(offset < fence for offset in offsets)


def _no_readings(spec: Windowing) -> pl.DataFrame:
    keys: dict[str, Any] = dict.fromkeys(spec.keys, pl.String)
    return pl.DataFrame(schema={**keys, "value": pl.Float64, "timestamp": pl.Int64, "pane": pl.Int64})
