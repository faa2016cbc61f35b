import polars as pl

from agents.factory.sensors import LIMITS
from bench.load import Readings
from bench.pace import PLACEHOLDER_MS, avro_long
from deploy.simulate.fleet import NORMALS

START_MS = 1_700_000_000_000


def test_every_sensor_reports_once_a_second_in_order_of_event_time() -> None:
    sound = Readings(40, START_MS).some(0, 300).filter(~pl.col("invalid"))

    assert sound["timestamp"].is_sorted()
    per_second = sound.group_by((pl.col("timestamp") - START_MS) // 1000, "device_id", "sensor_type").len()
    assert per_second["len"].unique().to_list() == [1]
    assert per_second.height == 40 * len(NORMALS) * 300


def test_under_one_percent_are_invalid_and_all_of_those_are_marked() -> None:
    judged = LIMITS.latest(Readings(100, START_MS).some(0, 300))
    measurable = judged.select(pl.col("value").is_between("minimum", "maximum")).to_series()

    assert measurable.equals(~judged["invalid"])
    assert 0.0005 < judged["invalid"].mean() < 0.01


def test_the_same_seed_gives_the_same_readings() -> None:
    assert Readings(20, START_MS).some(0, 60).equals(Readings(20, START_MS).some(0, 60))


def test_the_placeholder_is_as_long_as_the_timestamps_it_stands_for() -> None:
    assert len(avro_long(PLACEHOLDER_MS)) == len(avro_long(START_MS)) == len(avro_long(1_900_000_000_000))
