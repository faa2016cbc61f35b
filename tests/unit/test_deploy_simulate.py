import asyncio

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from agents.alerts import Origin, evaluated, judge
from agents.episodes import Episodes
from agents.rules import Rule, Severity
from deploy.simulate import kafka_sink, mqtt_sink
from deploy.simulate.delivery import deliveries
from deploy.simulate.faults import Faults, inject
from deploy.simulate.fleet import NORMALS, fleet
from deploy.simulate.records import render
from deploy.simulate.run import Plan
from deploy.simulate.signals import Signals
from deploy.simulate.truth import Truth
from schemas.catalog import READINGS

START_MS = 1_760_000_000_000
FLEET = fleet(40, seed=1)
SIGNALS = Signals(FLEET, 1, START_MS, 1000)
WITH_LIMITS = ["sensor_type", "minimum", "maximum", "critical", "wear_seconds"]
MIX = Faults(duplicates=0.1, disorder=0.1, late=0.05, garbage=0.1)


def sent(rounds, faults=MIX, at_once=7, rejected=kafka_sink.REJECTED):
    truth = Truth(FLEET, {"avro": rejected})
    frames = []
    for frame in deliveries(SIGNALS, faults, truth, rounds, at_once, asyncio.Event()):
        truth.delivered(frame)
        frames.append(frame)
    return pl.concat(frames), truth


def test_every_plant_has_machines_and_every_machine_every_sensor():
    assert FLEET["plant"].unique().sort().to_list() == [f"plant-{n}" for n in range(1, 6)]
    assert FLEET["device_id"].n_unique() == 40
    assert FLEET.group_by("device_id").agg(pl.col("sensor_type").n_unique())["sensor_type"].unique().to_list() == [len(NORMALS)]


def test_the_same_seed_gives_the_same_readings_however_many_rounds_at_once():
    again = Signals(fleet(40, seed=1), 1, START_MS, 1000)
    assert_frame_equal(SIGNALS.readings(0, 10), pl.concat([again.readings(0, 3), again.readings(3, 7)]))
    assert not Signals(fleet(40, seed=2), 2, START_MS, 1000).readings(0, 10).equals(SIGNALS.readings(0, 10))


def test_readings_come_in_order_of_time_once_a_period_from_every_channel():
    readings = SIGNALS.readings(0, 60)
    assert readings["timestamp"].is_sorted()
    assert readings["timestamp"].is_between(START_MS, START_MS + 60_000, closed="left").all()
    gaps = readings.select(pl.col("timestamp").diff().over("channel")).drop_nulls()
    assert gaps.select(pl.first().is_between(999, 1001).all()).item()


def test_sound_sensors_stay_under_where_alerts_clear_and_worn_ones_cross_critical_within_their_limits():
    readings = pl.concat([SIGNALS.readings(first, 600) for first in range(0, 4800, 600)])
    readings = readings.join(FLEET.select(WITH_LIMITS).with_row_index("channel"), on="channel")
    assert readings.filter(~pl.col("value").is_between("minimum", "maximum")).height == 0
    sound = readings.filter(pl.col("wear_seconds").is_null())
    assert sound.filter(pl.col("value") >= 0.95 * pl.col("critical")).height == 0
    worn = readings.filter(pl.col("wear_seconds").is_not_null()).group_by("channel").agg((pl.col("value") > pl.col("critical")).any())
    assert worn.height == 5
    assert worn["value"].all()


def test_the_first_minute_of_any_seed_shows_an_alert():
    for seed in range(20):
        channels = fleet(5, seed)
        truth = Truth(channels, {})
        truth.measured(Signals(channels, seed, START_MS, 1000).readings(0, 60))
        assert any(alert["status"] == "RAISED" for alert in truth.alerts)


def test_faults_add_records_and_take_no_reading():
    records, truth = sent(50)
    readings = SIGNALS.readings(0, 50)
    sound = records.filter(pl.col("fault").is_null() | (pl.col("fault") == "disorder")).select(readings.columns)
    assert_frame_equal(sound.sort("channel", "timestamp"), readings.sort("channel", "timestamp"))
    counts = truth.counts()
    assert counts["sent"] == records.height == counts["good"] + counts["duplicates"] + sum(counts["rejects"].values())
    for share, count in ((0.1, counts["duplicates"]), (0.1, counts["disorder"]), (0.05, counts["late"])):
        assert 0.7 * share < count / readings.height < 1.1 * share
    assert set(records["fault"].drop_nulls()) == {"duplicate", "disorder", "late", *kafka_sink.REJECTED}


def test_good_readings_are_never_each_others_duplicates():
    records, _ = sent(50)
    good = records.filter(pl.col("fault").is_null() | pl.col("fault").is_in(["disorder", "late"]))
    assert good.select("channel", "timestamp").is_unique().all()


def test_records_leave_in_order_of_their_time_of_sending_and_delayed_ones_overtaken():
    records, _ = sent(50)
    assert records["sent_at"].is_sorted()
    assert not records.filter(pl.col("fault") == "disorder")["timestamp"].is_sorted()
    delay = (records["sent_at"] - records["timestamp"]).filter(records["fault"] == "disorder")
    assert delay.max() <= 5000
    assert (records["sent_at"] - records["timestamp"]).filter(records["fault"] == "late").unique().to_list() == [3_600_007]


def test_without_faults_exactly_the_signals_are_sent():
    records, truth = sent(20, Faults.parse("none"))
    assert_frame_equal(records.select("channel", "timestamp", "value"), SIGNALS.readings(0, 20))
    count = 20 * FLEET.height
    assert truth.counts() == {"sent": count, "good": count, "duplicates": 0, "disorder": 0, "late": 0, "rejects": {}}


def test_sensors_that_wear_are_neither_doubled_nor_delayed():
    worn = FLEET.with_row_index("channel").filter(pl.col("wear_seconds").is_not_null())["channel"]
    records, _ = sent(50)
    faults = set(records.filter(pl.col("channel").is_in(worn.implode()))["fault"].drop_nulls())
    assert faults
    assert faults <= set(kafka_sink.REJECTED)


@pytest.mark.parametrize("rejected", [kafka_sink.REJECTED, *mqtt_sink.REJECTED.values()])
def test_garbage_is_of_every_kind_the_sink_knows(rejected):
    records = inject(SIGNALS.readings(0, 20), Faults(garbage=1), tuple(rejected), FLEET["wear_seconds"].is_null(), (1,))
    assert set(records["fault"].drop_nulls()) == set(rejected)


def test_every_format_has_the_same_kinds_of_garbage():
    assert {frozenset(rejected) for rejected in mqtt_sink.REJECTED.values()} == {frozenset(mqtt_sink.REJECTED["json"])}
    assert mqtt_sink.REJECTED.keys() == mqtt_sink.CONTENT_TYPES.keys()


def test_devices_write_in_the_formats_in_turn():
    mixed = fleet(5, seed=1, formats=("json", "avro"))
    by_device = mixed.select("device_id", "format").unique(maintain_order=True)
    assert by_device["format"].to_list() == ["json", "avro", "json", "avro", "json"]


def test_faults_are_read_from_text_and_unknown_ones_named():
    assert Faults.parse("default") == Faults()
    assert Faults.parse("duplicates=0.5,late_seconds=60") == Faults(0.5, 0, 0, 0, late_seconds=60)
    with pytest.raises(ValueError, match="no fault is named 'gremlins'"):
        Faults.parse("gremlins=1")


def test_rendered_columns_are_those_of_the_contract_and_shifts_follow_the_hour():
    records, _ = sent(3)
    rendered = render(FLEET, records)
    assert rendered.columns == list(READINGS.codec.columns)
    assert rendered.height == records.height
    hours = {0: "night", 5: "night", 6: "early", 13: "early", 14: "late", 21: "late", 22: "night"}
    at = pl.DataFrame({"channel": [0] * 7, "timestamp": 0, "value": 0.0, "sent_at": [h * 3_600_000 for h in hours], "fault": [None] * 7})
    shifts = [{entry["key"]: entry["value"] for entry in metadata}["shift"] for metadata in render(FLEET, at)["metadata"]]
    assert shifts == list(hours.values())


def test_the_truth_is_what_the_alert_engine_finds_in_the_signals():
    truth = Truth(FLEET, {})
    readings = pl.concat([SIGNALS.readings(first, 600) for first in range(0, 3600, 600)])
    truth.measured(readings)
    value, critical = pl.col("value"), pl.col("critical")
    rule = Rule(
        name="over",
        severity=Severity.CRITICAL,
        raises=value > critical,
        clears=value < 0.95 * critical,
        threshold=critical,
        cooldown_ms=300_000,
        message="",
    )
    columns = FLEET.select("device_id", "critical", subject="sensor_type").with_row_index("channel")
    frame = readings.join(columns, on="channel", maintain_order="left").with_columns(watermark=pl.lit(0, pl.Int64))
    judged = judge([rule], Episodes(), evaluated([rule], frame, [Episodes()]), Origin("t", "f"))
    found = judged.select("device_id", pl.col("subject").alias("sensor_type"), "status", "raised_at", "changed_at", "value", "threshold")
    due = pl.DataFrame(truth.alerts)
    assert set(due["status"]) == {"RAISED", "REOPENED", "CLEARED"}
    assert_frame_equal(due.sort(due.columns), found.select(due.columns).sort(due.columns))


def test_a_run_at_full_speed_ends_now_and_a_live_one_starts_about_now():
    full = Plan.of(channels=600, rate=600, seconds=None, count=6000, now_ms=START_MS)
    assert (full.rounds, full.start_ms, full.live) == (10, START_MS - 10_000, False)
    live = Plan.of(channels=600, rate=6000, seconds=60, count=None, now_ms=START_MS)
    assert (live.rounds, live.start_ms, live.rounds_at_once, live.live) == (600, START_MS + 250, 2, True)
    assert Plan.of(channels=600, rate=60, seconds=None, count=None, now_ms=START_MS).rounds is None
