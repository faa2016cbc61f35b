"""The one loop of every domain: a batch of the log in, alerts, window results and rejects out, state that survives any crash.

A `Watch` is the state of one partition and a pure function of its log: no clock, no I/O. `observe` is called for every batch and
gives what must not wait; `settle` is called for a checkpoint and gives the rest together with the state to store. Neither depends
on how the log is cut into batches or on where checkpoints fall. `judge` is what of `observe` needs the state; `cut` and `fold` are the
two halves of `settle`: while one thread folds what was cut off, another may observe.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import polars as pl

from agents import alerts, commands
from agents.episodes import Episode, Episodes, Key, advance, forget, from_frame, to_frame
from agents.guard import attempt
from agents.outlook import Attempt, Outlook
from agents.reading import Domain, Read, Records, below, read
from agents.replays import repeated
from agents.snapshot import Snapshot
from schemas.rejects import Reason, Reject
from schemas.wire import Codec
from tables import windows
from tables.checkpoint import Checkpoint, Ledger
from tables.windows import Windowing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observed:
    """What a batch calls for at once: alerts, commands, rejects, and readings too late for their windows (`row`, `device_id`, …)."""

    alerts: pl.DataFrame
    commands: pl.DataFrame
    rejects: list[Reject]
    late: pl.DataFrame


@dataclass(frozen=True)
class Settled:
    """What a checkpoint calls for: window results and alerts of trends to deliver before its state, and the state."""

    windows: pl.DataFrame
    alerts: pl.DataFrame
    checkpoint: Checkpoint
    counts: Mapping[str, int]
    """The ledger at the checkpoint's fence."""
    forecasts: Mapping[str, int]
    """What has become of forecasts, as `Outlook.forecasts`."""
    crashes: Mapping[str, int]
    """Panes that rules over trends did not judge, as `Outlook.crashes`."""


@dataclass(frozen=True)
class Cut:
    """What was observed since the cut before; all but the windows as of `fence`."""

    fence: int
    stream_time: int
    counts: Counter[str]
    places: Mapping[str, int]
    episodes: Mapping[Key, Episode | None]
    """Those that changed; None for one that is forgotten."""
    readings: list[pl.DataFrame]


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
    places: Mapping[str, int] = field(default_factory=dict)
    """Origin → greatest position so far, where readings have these."""
    panes: dict[int, pl.DataFrame] = field(default_factory=dict)
    episodes: Episodes = field(default_factory=Episodes)
    outlook: Outlook = field(init=False)
    snapshot: Snapshot = field(init=False, compare=False)
    """As of the latest fold."""
    ledger: Ledger = field(default_factory=Ledger)
    _observed: Counter[str] = field(default_factory=Counter)
    _folded: Counter[str] = field(default_factory=Counter)
    """What of the ledger `observe` counts, and what `fold` does: the one may run while the other does."""
    _unfolded: list[pl.DataFrame] = field(default_factory=list)
    _unfolded_rows: int = 0
    _kept: pl.DataFrame = field(default_factory=partial(to_frame, {}), compare=False)
    """The episodes as the latest checkpoint has them."""
    _swept_to: int = field(default=0, compare=False)
    """Event time as of which episodes were forgotten."""

    def __post_init__(self) -> None:
        self.outlook = Outlook(self.domain, self._origin())
        self._take_snapshot(self.fence, self.stream_time)

    def adopt(self, domain: Domain) -> None:
        """From now on judge by another version of the domain's rules; its windows are the same."""
        self.domain = self.outlook.domain = domain
        self.outlook.origin = self._origin()

    def _origin(self) -> alerts.Origin:
        return alerts.Origin(self.tenant, self.domain.name, self.domain.units)

    @property
    def watermark(self) -> int:
        """Event time that no reading is expected to be behind any more."""
        return self.stream_time - self.domain.windowing.disorder_ms

    @property
    def counts(self) -> Counter[str]:
        """The ledger: `received` = `accepted` + `duplicate` + `late` + every `rejected/<reason>`."""
        return self._observed + self._folded

    @property
    def unsettled(self) -> int:
        """Readings observed since the last checkpoint."""
        return self._unfolded_rows

    def recover(self, changelog: Mapping[bytes, bytes]) -> None:
        """Take up the latest checkpoint of a changelog. Raises `UnreadableCheckpoint`, `OtherLogs`."""
        recovered = self.ledger.recover(changelog)
        if recovered is None:
            return
        self.fence = recovered.fence
        self.stream_time = recovered.facts["stream_time"]
        self.settled_to = recovered.facts["settled_to"]
        self.places = recovered.facts.get("places", {})  # the first versions had none
        self._observed = Counter(recovered.facts["counts"])
        if "outlook" in recovered.facts:  # the first version had none
            self.outlook.recover(recovered.facts["outlook"], recovered.families)
        for family, frame in recovered.families.items():
            if family == _EPISODES:
                self.episodes = from_frame(frame)
                self._kept = to_frame(self.episodes)
            elif family.startswith(_PANE):
                self.panes[int(family.removeprefix(_PANE))] = frame.sort(*self.domain.windowing.keys)
        self._take_snapshot(self.fence, self.stream_time)

    def observe(self, batch: Records, writers: Mapping[int, Codec], missing: Set[int]) -> Observed | frozenset[int]:
        """Read a batch and judge it; or, before anything changes, the schema ids that have to be fetched first."""
        found = read(self.domain, [(batch, self)], writers, missing)
        return found if isinstance(found, frozenset) else self.judge(found[0])

    def judge(self, found: Read) -> Observed:
        """Raise and clear alerts, and take the readings up for the next cut."""
        spec, batch = self.domain.windowing, found.batch
        readings, places = self._new(found.readings)
        # One look at time for both: a machine whose clock or link is a little slow is still in danger now,
        # so what is historic to alerts is what windows, too, give up on.
        timestamp, arrival = readings["timestamp"].to_numpy(), readings["arrival"].to_numpy()
        given_up = windows.stream_time(self.stream_time, timestamp, arrival) - spec.patience_ms
        pane = spec.pane_of(timestamp)
        found_out = {"watermark": given_up, "pane": pane, "is_late": pane + spec.pane_ms <= given_up}
        readings = readings.hstack([pl.Series(*column) for column in found_out.items()])
        raised = alerts.judge(found.rules, self.episodes, _as_of_then(readings), self.outlook.origin)
        # As long as a reading counts as one of now, a command it calls for does.
        told = commands.called_for(found.rules, raised, readings, spec.patience_ms) if raised.height else commands.NONE
        self.places = places  # no rule raises an exception any more
        if spec.places is not None:
            self._observed["duplicate"] += found.readings.height - readings.height
        if readings.height:
            self.stream_time = readings["watermark"][-1] + spec.patience_ms
        late = readings.clear()
        if readings["is_late"].any():
            late = readings.filter("is_late").with_columns(pl.col("watermark") + spec.lateness_ms)
            readings = readings.filter(~pl.col("is_late"))
        self.fence = max(self.fence, batch.offsets[-1] + 1)
        self._observed.update(received=found.received, late=late.height)
        self._observed.update(f"rejected/{reject.reason}" for reject in found.rejects)
        self._unfolded.append(pl.DataFrame([readings[name] for name in (*spec.keys, "value", "timestamp", "pane")]))
        self._unfolded_rows += found.received
        offsets = pl.Series("offset", [batch.offsets[row] for row in late["row"]], dtype=pl.Int64)
        return Observed(raised, told, found.rejects, late.hstack([offsets]))

    def _new(self, readings: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        """Those that did not come before, where that is told by their places, and how far these go with them."""
        if (places := self.domain.windowing.places) is None:
            return readings, self.places
        again, reached = repeated(places, self.places, readings)
        return readings.filter(~again) if again.any() else readings, reached

    def crashing(self, batch: Records, writers: Mapping[int, Codec], missing: Set[int]) -> dict[str, Exception]:
        """Rules over readings that raise on a batch, each tried by itself on a copy of the state, and what they raise."""
        found: dict[str, Exception] = {}
        for rule in self.domain.rules:
            trial = deepcopy(self, {id(self.domain): self.domain})
            trial.adopt(replace(self.domain, rules=[rule]))
            made = attempt(partial(trial.observe, batch, writers, missing))
            if isinstance(made, Exception):
                found[rule.name] = made
        return found

    def crashed(self, batch: Records, error: Exception) -> Observed:
        """Reject every record of a batch on which a rule raised: the log tells where, the dead letters keep the data."""
        place = (batch.topic, batch.partition, batch.offsets[0])
        logger.error("rule_crashed topic=%s partition=%d first_offset=%d", *place, exc_info=error)
        rows = range(below(batch, self.fence), len(batch.offsets))
        self.fence = max(self.fence, batch.offsets[-1] + 1)
        self._observed.update({"received": len(rows), f"rejected/{Reason.RULE_CRASHED}": len(rows)})
        return Observed(alerts.NONE, commands.NONE, [Reject(row, Reason.RULE_CRASHED, repr(error)) for row in rows], pl.DataFrame())

    def settle(self) -> Settled:
        """Close the windows that are due, and stage the state at the fence."""
        return self.fold(self.cut())

    def cut(self) -> Cut:
        """Take what was observed since the last time; to be folded before the next is taken."""
        # Alerts wait for this, so it is brief: what is forgotten a minute later harms nobody.
        if self.stream_time - self._swept_to >= self.domain.windowing.pane_ms:
            forget(self.domain.rules, self.episodes, self.stream_time - self.domain.windowing.patience_ms)
            self._swept_to = self.stream_time
        cut = Cut(self.fence, self.stream_time, self._observed.copy(), self.places, self.episodes.changes(), self._unfolded)
        self._unfolded, self._unfolded_rows = [], 0
        return cut

    def fold(self, cut: Cut, attempt: Attempt = lambda work: work()) -> Settled:
        """Fold what was cut off into the windows, close those that are due, and stage the state; what `observe` touches stays as it is.

        `attempt` is as in `Outlook.advance`.
        """
        spec, watermark = self.domain.windowing, cut.stream_time - self.domain.windowing.disorder_ms
        readings = pl.concat(cut.readings) if cut.readings else _no_readings(spec)
        folded = windows.fold(spec, self.panes, readings)
        self.panes |= folded.panes
        results = windows.closed(spec, self.panes, self.settled_to, watermark, readings.select(*spec.keys, "pane"))
        foreseen, families = self.outlook.advance(self.panes, cut.stream_time - spec.patience_ms, attempt)
        expired = windows.expired(spec, self.panes, watermark)
        for start in expired:
            del self.panes[start]
        self.settled_to = max(self.settled_to, watermark)
        self._take_snapshot(cut.fence, cut.stream_time)
        taken = Counter(accepted=readings.height - folded.duplicates, duplicate=folded.duplicates)
        self._folded = self._folded + taken
        changed = {f"{_PANE}{start}": frame for start, frame in folded.panes.items() if start in self.panes} | families
        if cut.episodes:
            changed[_EPISODES] = self._kept = advance(self._kept, cut.episodes)
        counts = cut.counts + self._folded
        reached = {"stream_time": cut.stream_time, "settled_to": self.settled_to, "places": cut.places}
        facts = {**reached, "counts": counts, "outlook": self.outlook.facts}
        checkpoint = self.ledger.stage(cut.fence, facts, changed, [f"{_PANE}{start}" for start in expired])
        results = results.with_columns(closed_by=pl.lit("watermark"))
        return Settled(results, foreseen, checkpoint, counts, self.outlook.forecasts.copy(), self.outlook.crashes.copy())

    def idle(self) -> pl.DataFrame:
        """Results of the windows still open, for a partition that fell silent; state does not change."""
        return windows.pending(self.domain.windowing, self.panes, self.watermark).with_columns(closed_by=pl.lit("idle"))

    def _take_snapshot(self, fence: int, stream_time: int) -> None:
        self.snapshot = Snapshot(fence, stream_time, self.panes.copy(), self.outlook.trends, self.outlook.reached)


_PANE: Final = "pane-"
_EPISODES: Final = "episodes"


def _no_readings(spec: Windowing) -> pl.DataFrame:
    keys: dict[str, Any] = dict.fromkeys(spec.keys, pl.String)
    return pl.DataFrame(schema={**keys, "value": pl.Float64, "timestamp": pl.Int64, "pane": pl.Int64})


def _as_of_then(readings: pl.DataFrame) -> pl.DataFrame:
    """Readings as alerts are to judge them: of what a device says is of the past, only the record is kept, whatever came before it."""
    if "historical" not in readings.columns or not readings["historical"].any():
        return readings
    behind = pl.max_horizontal("watermark", pl.col("timestamp") + 1)
    return readings.with_columns(watermark=pl.when("historical").then(behind).otherwise("watermark"))
