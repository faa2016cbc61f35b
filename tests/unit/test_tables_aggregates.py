from itertools import pairwise
from statistics import fmean, pstdev

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.factory.sensors import SENSORS
from tables.aggregates import GREATEST, SCALE_BITS, SCHEMA, measure, merge, result

VALUES = st.floats(-GREATEST, GREATEST) | st.sampled_from([0.0, -0.0, GREATEST, -GREATEST, 2.0**-30, 5e-324])


def frame(readings: list[tuple[int, float]]) -> pl.DataFrame:
    return pl.DataFrame(readings, schema={"timestamp": pl.Int64, "value": pl.Float64}, orient="row")


def measured(readings: list[tuple[int, float]]) -> pl.DataFrame:
    return frame(readings).group_by(pl.lit("key").alias("key")).agg(*measure("value", "timestamp"))


def merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("key").agg(*merge())


def bits(aggregate: pl.DataFrame) -> tuple[object, ...]:
    """The aggregate, with 0.0 and -0.0 told apart."""
    return tuple(value.hex() if isinstance(value, float) else value for value in aggregate.select(*SCHEMA).row(0))


def statistics(aggregate: pl.DataFrame) -> tuple[float, float]:
    mean, stddev = aggregate.select(*result()).row(0)
    return mean, stddev


@st.composite
def groupings(draw) -> tuple[list[tuple[int, float]], list[list[tuple[int, float]]]]:
    """Readings at different times in some order, and the same dealt out to groups in another."""
    readings = draw(st.lists(st.tuples(st.integers(0, 10**13), VALUES), min_size=1, max_size=40, unique_by=lambda reading: reading[0]))
    shuffled = draw(st.permutations(readings))
    cuts = sorted(draw(st.sets(st.integers(1, len(readings)), max_size=6)) | {0, len(readings)})
    return readings, [shuffled[start:end] for start, end in pairwise(cuts)]


@settings(deadline=None)
@given(groupings())
def test_any_grouping_and_order_of_the_same_readings_gives_the_same_bits(grouping):
    readings, groups = grouping
    parts = [measured(group) for group in groups]
    left = parts[0]
    for part in parts[1:]:
        left = merged([left, part])
    right = parts[-1]
    for part in reversed(parts[:-1]):
        right = merged([part, right])
    assert bits(measured(readings)) == bits(merged(parts)) == bits(left) == bits(right)


@settings(deadline=None)
@given(groupings())
def test_the_statistics_are_those_of_the_readings(grouping):
    readings, groups = grouping
    aggregate, values = merged([measured(group) for group in groups]), [value for _, value in readings]
    mean, stddev = statistics(aggregate)
    assert mean == pytest.approx(fmean(values), abs=2**-SCALE_BITS, rel=1e-15)
    # each value is off by half a unit of the fixed point at most
    assert stddev == pytest.approx(pstdev(values), abs=2**-SCALE_BITS, rel=1e-9)
    found = aggregate.row(0, named=True)
    assert (found["count"], found["min"], found["max"]) == (len(values), min(values), max(values))
    assert (found["last_at"], found["last"]) == max(readings)


@pytest.mark.parametrize("value", [0.0, -40.0, 21.7, 1000.0, 8191.999])
def test_equal_readings_deviate_by_exactly_nothing(value):
    assert statistics(measured([(at, value) for at in range(1000)])) == (pytest.approx(value, abs=2**-30), 0.0)


@pytest.mark.parametrize(("signs", "mean", "stddev"), [([1, 1], GREATEST, 0.0), ([1, -1], 0.0, GREATEST), ([-1, -1], -GREATEST, 0.0)])
def test_a_million_readings_of_the_greatest_value_fit(signs, mean, stddev):
    million = pl.DataFrame({"key": "key", "timestamp": range(1_000_000), "value": [GREATEST * sign for sign in signs] * 500_000})
    aggregate = million.group_by("key").agg(*measure("value", "timestamp"))
    assert aggregate["sum"].item() == sum(signs) * 500_000 << 43
    assert aggregate["squares"].item() == 1_000_000 << 86
    assert statistics(aggregate) == (mean, stddev)


def test_a_value_beyond_fixed_point_is_an_error_and_not_a_wrong_sum():
    with pytest.raises(pl.exceptions.InvalidOperationError, match="conversion from `f64` to `i64` failed"):
        measured([(0, 2.0**34)])


def test_every_sensors_range_is_within_what_fits():
    assert max(abs(limit) for sensor in SENSORS for limit in (sensor.minimum, sensor.maximum)) <= GREATEST
