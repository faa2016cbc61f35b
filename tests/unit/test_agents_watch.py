import dataclasses
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from agents.factory.domain import FACTORY
from agents.watch import Watch
from schemas.catalog import READINGS, WINDOWS
from schemas.rejects import Reason
from schemas.wire import decode, encode

MINUTE = 60_000
START = 29_333_333 * MINUTE
WRITERS = {7: READINGS.codec}


def reading(second: float, value: float = 20.0, device: str = "press", **changes: object) -> dict[str, Any]:
    """A temperature so many seconds after START, which arrived on time."""
    at = START + int(second * 1000)
    common = {"device_id": device, "sensor_type": "temperature", "value": value, "timestamp": at}
    common |= {"location": "", "metadata": [], "plant": "plant-1"}
    return common | {"key": device.encode(), "arrival": at} | changes


def batch(first: int, *readings: dict[str, Any]) -> Any:
    frame = pl.DataFrame([{name: row[name] for name in READINGS.codec.columns} for row in readings], READINGS.codec.columns)
    return SimpleNamespace(
        topic="factory.readings",
        partition=0,
        keys=[row["key"] for row in readings],
        values=encode(READINGS.codec, 7, frame),
        timestamps=[row["arrival"] for row in readings],
        offsets=list(range(first, first + len(readings))),
    )


@pytest.fixture
def watch() -> Watch:
    return Watch(FACTORY, "acme")


def observe(watch: Watch, first: int, *readings: dict[str, Any]) -> Any:
    return watch.observe(batch(first, *readings), WRITERS, frozenset())


def windows(frame: pl.DataFrame) -> list[tuple[int, int, int]]:
    """Length, start in seconds after START, and revision."""
    return frame.select("window_seconds", (pl.col("window_start") - START) // 1000, "revision").sort(pl.all()).rows()


def changelog(*checkpoints: Any) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for checkpoint in checkpoints:
        found |= {**checkpoint.buckets, checkpoint.manifest[0]: checkpoint.manifest[1]}
        for key in checkpoint.obsolete:
            found.pop(key, None)
    return found


def test_a_minute_is_told_of_when_the_watermark_passes_its_end_and_not_before(watch):
    observe(watch, 0, reading(10), reading(64.999))
    assert watch.settle().windows.is_empty()
    observe(watch, 2, reading(65))
    assert windows(watch.settle().windows) == [(60, 0, 1), (600, -540, 1)]
    assert watch.settle().windows.is_empty()


def test_windows_are_written_by_the_schema_of_their_topic(watch):
    observe(watch, 0, reading(10, 20.0), reading(20, 30.0), reading(65))
    results = watch.settle().windows.filter(window_seconds=60)
    decoded = decode(encode(WINDOWS.codec, 1, results), WINDOWS.codec, {1: WINDOWS.codec})
    assert decoded.frame.drop("row").rows(named=True) == [
        {
            "device_id": "press",
            "sensor_type": "temperature",
            "window_seconds": 60,
            "window_start": START,
            "count": 2,
            "mean": 25.0,
            "min": 20.0,
            "max": 30.0,
            "stddev": 5.0,
            "last": 30.0,
            "last_at": START + 20_000,
            "revision": 2,
            "closed_by": "watermark",
        }
    ]


def test_late_within_the_lateness_corrects_with_a_higher_revision(watch):
    observe(watch, 0, reading(10), reading(65))
    watch.settle()
    observed = observe(watch, 2, reading(124.999), reading(59))
    assert observed.late.is_empty()
    assert (60, 0, 2) in windows(watch.settle().windows)


def test_late_beyond_the_lateness_is_told_with_the_watermark_it_met(watch):
    observe(watch, 0, reading(10), reading(125))
    observed = observe(watch, 2, reading(59.999), reading(60))
    assert observed.late.select("row", "device_id", "offset", "timestamp", "watermark").rows() == [
        (0, "press", 2, START + 59_999, START + 120_000)
    ]
    watch.settle()
    assert watch.counts == {"received": 4, "accepted": 3, "late": 1}


def test_a_clock_that_runs_ahead_makes_no_other_device_late(watch):
    ahead = [reading(second + 60, device="ahead", arrival=START + second * 1000) for second in range(0, 600, 30)]
    on_time = [reading(second) for second in range(0, 600, 30)]
    observed = observe(watch, 0, *(row for pair in zip(ahead, on_time, strict=True) for row in pair))
    assert (observed.rejects, observed.late.height) == ([], 0)
    assert watch.watermark == START + 565_000


def test_what_is_not_closed_yet_is_told_when_the_partition_falls_silent_and_changes_no_state(watch):
    observe(watch, 0, reading(10), reading(70))
    watch.settle()
    before = {start: pane.clone() for start, pane in watch.panes.items()}
    idle = watch.idle()
    assert windows(idle) == [(60, 60, 1), (600, -480, 2)]
    assert idle["closed_by"].unique().to_list() == ["idle"]
    assert watch.panes.keys() == before.keys()
    observe(watch, 2, reading(130))
    assert (60, 60, 1) in windows(watch.settle().windows)


def test_a_new_partition_has_nothing_to_tell(watch):
    settled = watch.settle()
    assert (settled.windows.height, watch.idle().height, settled.checkpoint.fence) == (0, 0, 0)
    assert encode(WINDOWS.codec, 1, settled.windows) == encode(WINDOWS.codec, 1, watch.idle()) == []


def test_memory_is_let_go_of_as_time_passes(watch):
    for minute in range(40):
        observe(watch, minute, reading(minute * 60, 160.0 if minute == 1 else 20.0))
        watch.settle()
    assert sorted((start - START) // MINUTE for start in watch.panes) == list(range(28, 40))
    for minute in range(40, 120):
        observe(watch, minute, reading(minute * 60))
    watch.settle()
    assert watch.episodes == {}


def test_a_batch_of_nothing_but_rejects_moves_the_fence_and_no_clock(watch):
    rejected = observe(watch, 0, reading(10, 999.0), reading(20, sensor_type="smell"), reading(30, key=b"other"))
    assert [reject.reason for reject in rejected.rejects] == [Reason.OUT_OF_RANGE, Reason.UNKNOWN_SENSOR, Reason.WRONG_KEY]
    watch.settle()
    assert (watch.fence, watch.stream_time) == (3, 0)
    assert watch.counts["received"] == 3


def test_a_batch_with_an_unknown_schema_changes_nothing_until_it_is_known(watch):
    both = batch(0, reading(10, 160.0), reading(11, 160.0))
    both.values[1] = b"\x00\x00\x00\x00\x08" + both.values[1][5:]
    assert watch.observe(both, WRITERS, frozenset()) == {8}
    assert watch == Watch(FACTORY, "acme", ledger=watch.ledger)
    observed = watch.observe(both, {7: READINGS.codec, 8: READINGS.codec}, frozenset())
    assert (observed.alerts.height, watch.counts["received"], watch.fence) == (1, 2, 2)


def test_a_schema_the_registry_does_not_have_costs_its_records_only(watch):
    both = batch(0, reading(10), reading(11))
    both.values[0] = b"\x00\x00\x00\x00\x08" + both.values[0][5:]
    observed = watch.observe(both, WRITERS, frozenset({8}))
    assert [(reject.row, reject.reason) for reject in observed.rejects] == [(0, Reason.UNKNOWN_SCHEMA)]


def test_records_below_the_fence_are_skipped_and_rows_still_count_from_the_batchs_first(watch):
    observe(watch, 0, reading(10), reading(11))
    again = batch(1, reading(11), reading(12, 999.0), reading(200), reading(13), reading(14))
    again.values[4] = b"garbage"
    observed = watch.observe(again, WRITERS, frozenset())
    assert sorted((reject.row, reject.reason) for reject in observed.rejects) == [(1, Reason.OUT_OF_RANGE), (4, Reason.BAD_MAGIC)]
    assert observed.late.select("row", "offset").rows() == [(3, 4)]
    assert (watch.counts["received"], watch.fence) == (6, 6)


def test_a_batch_wholly_below_the_fence_does_not_move_it_back(watch):
    observe(watch, 0, *(reading(second) for second in range(10)))
    observed = observe(watch, 2, reading(2, 160.0), reading(3))
    assert (observed.alerts.height, watch.fence, watch.counts["received"]) == (0, 10, 10)


def test_a_crashed_batch_is_rejected_whole_past_the_fence_and_counted(watch):
    observe(watch, 0, reading(0), reading(1))
    crashed = watch.crashed(batch(1, reading(1), reading(2), reading(3)), ZeroDivisionError("by zero"))
    assert [(reject.row, reject.reason, reject.detail) for reject in crashed.rejects] == [
        (1, Reason.RULE_CRASHED, "ZeroDivisionError('by zero')"),
        (2, Reason.RULE_CRASHED, "ZeroDivisionError('by zero')"),
    ]
    assert watch.crashed(batch(0, reading(0)), ZeroDivisionError()).rejects == []
    watch.settle()
    assert (watch.fence, +watch.counts) == (4, {"received": 4, "accepted": 2, "rejected/rule-crashed": 2})


def test_a_rule_that_crashes_leaves_no_trace_of_its_batch():
    crashing = dataclasses.replace(FACTORY.rules[0], name="crash", threshold=pl.col("no_such_column"))
    watch = Watch(dataclasses.replace(FACTORY, rules=[*FACTORY.rules, crashing]), "acme")
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        observe(watch, 0, reading(10, 160.0))
    assert watch == Watch(watch.domain, "acme", ledger=watch.ledger)


def test_messages_have_units_and_what_is_over_says_so(watch):
    raised = observe(watch, 0, reading(10, 166.4)).alerts["message"].item()
    assert raised == "temperature of press is 166.4 °C, critical above 150 °C"
    assert observe(watch, 1, reading(20, 85.0)).alerts["message"].item() == "above-critical of press is over: temperature is 85 °C"


def test_rules_that_crash_are_told_from_those_that_judge_and_change_nothing(watch):
    crashing = dataclasses.replace(FACTORY.rules[0], name="crash", message="{no_such_fact}")
    watch.adopt(dataclasses.replace(FACTORY, rules=[crashing, *FACTORY.rules]))
    found = watch.crashing(batch(0, reading(10, 160.0)), WRITERS, frozenset())
    assert [(name, type(error)) for name, error in found.items()] == [("crash", KeyError)]
    assert watch == Watch(watch.domain, "acme", ledger=watch.ledger)
    assert watch.crashing(batch(0, reading(10, 20.0)), WRITERS, frozenset()) == {}


def test_a_crash_does_not_take_the_batch_for_one_that_came_before():
    crashing = dataclasses.replace(FACTORY.rules[0], name="crash", message="{no_such_fact}")
    windowing = dataclasses.replace(FACTORY.windowing, places=("device_id", "timestamp"))
    watch = Watch(dataclasses.replace(FACTORY, rules=[crashing, *FACTORY.rules], windowing=windowing), "acme")
    with pytest.raises(KeyError):
        observe(watch, 0, reading(10, 160.0))
    assert (watch.places, +watch.counts) == ({}, {})
    watch.adopt(dataclasses.replace(watch.domain, rules=FACTORY.rules))
    assert observe(watch, 0, reading(10, 160.0)).alerts.height == 1


def test_what_is_recovered_goes_on_where_the_checkpoint_was(watch):
    observe(watch, 0, reading(10, 160.0), reading(70, 160.0))
    first = watch.settle().checkpoint
    observe(watch, 2, reading(131, 160.0))
    second = watch.settle().checkpoint
    successor = Watch(FACTORY, "acme")
    successor.recover(changelog(first, second))
    assert (successor.fence, successor.stream_time, successor.settled_to) == (3, watch.stream_time, watch.settled_to)
    assert (successor.counts, successor.episodes) == (watch.counts, watch.episodes)
    assert {start: pane.rows() for start, pane in successor.panes.items()} == {start: pane.rows() for start, pane in watch.panes.items()}
    cleared = observe(successor, 3, reading(132, 20.0))
    assert cleared.alerts["status"].to_list() == ["CLEARED"]


def test_a_minute_without_readings_is_not_written_again(watch):
    observe(watch, 0, reading(10))
    watch.settle()
    observe(watch, 1, reading(70))
    assert [key.partition(b"/")[0] for key in watch.settle().checkpoint.buckets] == [b"pane-%d" % (START + MINUTE)]


def test_readings_are_unsettled_until_a_checkpoint(watch):
    observe(watch, 0, reading(10), reading(11, 999.0))
    assert watch.unsettled == 2
    watch.settle()
    assert watch.unsettled == 0
