"""What holds for the factory's watch whatever its log, however it is cut, wherever checkpoints fall, and whoever crashes or returns."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.device import directory, view
from agents.episodes import forget
from agents.factory.domain import FACTORY
from agents.rulebook import Row, with_rows
from agents.watch import Watch
from schemas.catalog import READINGS
from schemas.rejects import Reason
from schemas.wire import encode

HELD = {
    "name": "held",
    "severity": "INFO",
    "raises": "value > 90",
    "clears": "value < 50",
    "threshold": "90",
    "message": "{value}",
    "hold_seconds": 5,
    "escalates": "value > 150",
}
LINE = with_rows(FACTORY, [Row.model_validate(HELD)])
MINUTE = 60_000
START = 29_333_333 * MINUTE
DEVICES = ["plant-1.press", "пресс\x00🏭", "p" * 200]
SENSORS = {
    "temperature": [20.0, 20.0, -40.0, 145.0, 160.0, 160.0, 200.0],
    "humidity": [0.0, -0.0, 50.0, 92.0, 96.0, 100.0],
    "vibration": [0.0, 12.0, 37.0, 39.0, 41.0, 41.0, 50.0],
}
GARBAGE: dict[Reason, list[bytes | None]] = {
    Reason.TOMBSTONE: [None],
    Reason.BAD_MAGIC: [b"", b"{}", b"\x01\x00\x00\x00\x07"],
    Reason.UNKNOWN_SCHEMA: [b"\x00\x00\x00\x00\x63abc", b"\x00\x00\x00\x00\x00"],
    Reason.UNDECODABLE: [b"\x00\x00\x00\x00\x07", b"\x00\x00\x00\x00\x07\x08abc"],
}
UNFIT = {
    Reason.WRONG_KEY: {"key": b"another"},
    Reason.BAD_DEVICE_ID: {"device_id": "", "key": b""},
    Reason.UNKNOWN_SENSOR: {"sensor_type": "smell"},
    Reason.NOT_FINITE: {"value": math.nan},
    Reason.OUT_OF_RANGE: {"value": 1e300},
    Reason.BAD_TIMESTAMP: {"timestamp": START // 1000},
}
# In steps of five seconds, so that watermarks and event times often fall on the bounds.
PASSING = [0, 0, 5_000, 5_000, 5_000, 5_000, 20_000, 60_000, 420_000, 4_200_000]
BEHIND = [0, 0, 0, 0, 0, 0, 1, 5_000, 5_001, 50_000, 65_000, 100_000, 100_000, 4_000_000, -30_000, -60_000]


@dataclass
class Log:
    """Records of one partition, and what each should become: a reason, or None for a good reading."""

    readings: list[dict[str, Any]] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    reasons: list[Reason | None] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    def batch(self, start: int, end: int) -> Any:
        columns = {
            "keys": [reading["key"] for reading in self.readings],
            "values": self.values,
            "timestamps": [reading["arrival"] for reading in self.readings],
            "offsets": self.offsets,
        }
        return SimpleNamespace(topic="t", partition=0, **{name: column[start:end] for name, column in columns.items()})

    def position(self, offset: int) -> int:
        return sum(other < offset for other in self.offsets)


@st.composite
def logs(draw) -> Log:
    """Disorder, duplicates, late readings, clocks ahead, critical ones and all that may be wrong, with gaps between the offsets."""
    wrong = st.sampled_from([*[None] * 24, "again", "again", *GARBAGE, *UNFIT])
    steps = st.tuples(
        wrong, st.sampled_from(PASSING), st.sampled_from(BEHIND), st.sampled_from(DEVICES), st.sampled_from([*SENSORS]), st.integers(0, 6)
    )
    now, offset, log = START, 0, Log()
    for reason, passing, behind, device, sensor, number in draw(st.lists(steps, min_size=1, max_size=70)):
        now += passing
        offset += 1 + (number == 0)
        reading = {
            "device_id": device,
            "sensor_type": sensor,
            "value": SENSORS[sensor][number % len(SENSORS[sensor])],
            "timestamp": now - behind,
        }
        reading |= {"key": device.encode(), "arrival": now, "location": "", "metadata": [], "plant": f"plant-{reading['value']}"}
        if reason == "again" and log.readings:
            earlier = -1 - number % len(log.readings)
            reading, reason = log.readings[earlier] | {"arrival": now}, log.reasons[earlier]
        reading |= UNFIT.get(reason, {})
        log.readings.append(reading)
        log.reasons.append(None if reason == "again" else reason)
        log.offsets.append(offset)
    frame = pl.DataFrame([{name: reading[name] for name in READINGS.codec.columns} for reading in log.readings], READINGS.codec.columns)
    encoded = encode(READINGS.codec, 7, frame)
    log.values = [
        GARBAGE[reason][offset % len(GARBAGE[reason])] if reason in GARBAGE else value
        for reason, value, offset in zip(log.reasons, encoded, log.offsets, strict=True)
    ]
    return log


@dataclass
class Effects:
    """What reached the topics, as sinks that know ids and revisions keep it."""

    windows: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    alerts: dict[tuple[Any, ...], dict[tuple[Any, ...], None]] = field(default_factory=lambda: defaultdict(dict))
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejects: dict[int, Reason] = field(default_factory=dict)
    late: dict[int, int] = field(default_factory=dict)

    def observed(self, batch: Any, observed: Any) -> None:
        for row in observed.alerts.iter_rows(named=True):
            self.alerts[row["device_id"], row["subject"], row["rule"]][tuple(row.values())] = None
        for row in observed.commands.iter_rows(named=True):
            assert self.commands.setdefault(row["command_id"], row) == row
        self.rejects |= {batch.offsets[reject.row]: reject.reason for reject in observed.rejects}
        self.late |= dict(observed.late.select("offset", "watermark").iter_rows())

    def settled(self, windows: pl.DataFrame) -> None:
        for row in windows.iter_rows(named=True):
            key = (row["device_id"], row["sensor_type"], row["window_seconds"], row["window_start"])
            other = self.windows.get(key, row)
            assert row["revision"] != other["revision"] or row == other
            self.windows[key] = max(row, other, key=lambda window: window["revision"])

    def in_order(self) -> dict[str, Any]:
        return {
            "windows": self.windows,
            "alerts": {key: list(rows) for key, rows in self.alerts.items()},
            "commands": self.commands,
            "rejects": self.rejects,
            "late": self.late,
        }


def observe(watch: Watch, log: Log, start: int, end: int, effects: Effects) -> None:
    batch = log.batch(start, end)
    effects.observed(batch, watch.observe(batch, {7: READINGS.codec}, {99}))


def state(watch: Watch) -> dict[str, Any]:
    panes = {start: pane.rows() for start, pane in watch.panes.items()}
    forget(LINE.rules, watch.episodes, watch.watermark)  # those due may be forgotten sooner or later
    facts = {"fence": watch.fence, "stream_time": watch.stream_time, "settled_to": watch.settled_to, "counts": +watch.counts}
    return facts | {"panes": panes, "episodes": watch.episodes}


def told(watch: Watch) -> dict[str, Any]:
    """What is answered of each device, and the list of them."""
    return {"devices": {device: view(watch, device) for device in DEVICES}, "list": directory(watch).to_dicts()}


def undisturbed(log: Log) -> tuple[Watch, Effects]:
    watch, effects = Watch(LINE, "acme"), Effects()
    observe(watch, log, 0, len(log.values), effects)
    effects.settled(watch.settle().windows)
    return watch, effects


def is_conserved(counts: Counter[str]) -> bool:
    return counts["received"] == sum(count for name, count in counts.items() if name != "received")


UNHURRIED = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@UNHURRIED
@given(logs(), st.sets(st.integers(1, 69), max_size=12), st.sets(st.integers(0, 12)))
def test_nothing_depends_on_how_the_log_is_cut_into_batches_or_on_where_checkpoints_fall(log, cuts, checkpoints):
    watch, effects, start = Watch(LINE, "acme"), Effects(), 0
    for number, end in enumerate(sorted({cut for cut in cuts if cut < len(log.values)} | {len(log.values)})):
        observe(watch, log, start, end, effects)
        start = end
        if number in checkpoints:
            effects.settled(watch.settle().windows)
            assert is_conserved(watch.counts)
    effects.settled(watch.settle().windows)
    whole, expected = undisturbed(log)
    assert effects.in_order() == expected.in_order()
    assert state(watch) == state(whole)
    assert told(watch) == told(whole)


def fates(log: Log) -> tuple[Counter[str], dict[tuple[Any, ...], list[dict[str, Any]]], int]:
    """The ledger, the accepted readings by key and minute, and the watermark, from their definitions, a record at a time."""
    counts: Counter[str] = Counter(received=len(log.values))
    panes, stream_time = defaultdict(list), 0
    for reading, reason in zip(log.readings, log.reasons, strict=True):
        if reason:
            counts[f"rejected/{reason}"] += 1
            continue
        at = reading["timestamp"]
        stream_time = max(stream_time, min(at, reading["arrival"]))
        minute = at // MINUTE * MINUTE
        pane = panes[reading["device_id"], reading["sensor_type"], minute]
        if minute + 2 * MINUTE <= stream_time - 5_000:
            counts["late"] += 1
        elif pane and at == max(other["timestamp"] for other in pane):
            counts["duplicate"] += 1
        else:
            counts["accepted"] += 1
            pane.append(reading)
    return counts, panes, stream_time - 5_000


@UNHURRIED
@given(logs())
def test_every_record_meets_its_fate_and_every_window_is_that_of_its_readings(log):
    watch, effects = undisturbed(log)
    counts, panes, watermark = fates(log)
    assert +watch.counts == +counts
    assert effects.rejects == {offset: reason for offset, reason in zip(log.offsets, log.reasons, strict=True) if reason}
    assert len(effects.late) == counts["late"]
    expected = defaultdict(list)
    for (device, sensor, minute), inside in panes.items():
        for seconds in (60, 600):
            for end in range(minute + MINUTE, minute + seconds * 1000 + 1, MINUTE):
                if inside and end <= watermark:
                    expected[device, sensor, seconds, end - seconds * 1000] += inside
    assert effects.windows.keys() == expected.keys()
    for key, inside in expected.items():
        window, values = effects.windows[key], [reading["value"] for reading in inside]
        found = [window[name] for name in ("revision", "count", "min", "max", "last_at", "closed_by")]
        assert found == [len(inside), len(inside), min(values), max(values), max(reading["timestamp"] for reading in inside), "watermark"]
        assert (window["mean"], window["stddev"]) == (pytest.approx(fmean(values), abs=1e-9), pytest.approx(pstdev(values), abs=1e-9))


class Worker:
    """Whoever owns the partition, or did and does not know it lost it; killed at any record it writes to the changelog."""

    def __init__(self, log: Log, changelog: dict[bytes, bytes], committed: int) -> None:
        self.log, self.watch = log, Watch(LINE, "acme")
        self.watch.recover(changelog)
        self.position = log.position(committed)
        self.queue: list[tuple[bytes, bytes | None]] = []

    def work(self, records: int, effects: Effects) -> None:
        for part in (records // 2, records - records // 2):
            end = min(self.position + part, len(self.log.values))
            if end > self.position:
                observe(self.watch, self.log, self.position, end, effects)
                self.position = end

    def stage(self, effects: Effects) -> None:
        settled = self.watch.settle()
        assert is_conserved(self.watch.counts)
        effects.settled(settled.windows)
        checkpoint = settled.checkpoint
        self.queue = [*checkpoint.buckets.items(), checkpoint.manifest, *((key, None) for key in checkpoint.obsolete)]

    def deliver(self, changelog: dict[bytes, bytes], records: int) -> None:
        for key, value in self.queue[:records]:
            if value is None:
                changelog.pop(key, None)
            else:
                changelog[key] = value
        del self.queue[:records]


ALL = 1_000
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["owner", "owner", "owner", "zombie", "succession", "succession"]),
        st.integers(0, 2),
        st.sampled_from([0, 1, 3, 9, 20]),
        st.sampled_from([0, 1, 2, 4, 9, ALL, ALL, ALL]),
        st.integers(0, 30),
    ),
    min_size=4,
    max_size=14,
)


@settings(UNHURRIED, max_examples=80)
@given(logs(), STEPS)
def test_workers_killed_at_any_instant_and_zombies_that_go_on_leave_what_one_undisturbed_worker_leaves(log, steps):
    changelog: dict[bytes, bytes] = {}
    effects, committed = Effects(), 0
    workers = [Worker(log, changelog, committed)]
    for role, which, records, delivered, behind in steps:
        if role == "succession":
            workers.append(Worker(log, changelog, max(committed - behind, 0)))
        worker = workers[-1 - (which % len(workers) if role == "zombie" else 0)]
        if not worker.queue:
            worker.work(records, effects)
            worker.stage(effects)
        worker.deliver(changelog, delivered)
        if worker is workers[-1] and not any(key.startswith(b"manifest") for key, value in worker.queue if value):
            committed = worker.watch.fence
    last = Worker(log, changelog, committed)
    assert last.watch.fence >= committed
    last.work(ALL, effects)
    last.stage(effects)
    last.deliver(changelog, ALL)
    whole, expected = undisturbed(log)
    assert effects.in_order() == expected.in_order()
    successor = Worker(log, changelog, 0).watch
    assert state(last.watch) == state(successor) == state(whole)
    assert told(last.watch) == told(successor) == told(whole)
