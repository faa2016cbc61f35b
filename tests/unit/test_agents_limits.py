from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.factory.domain import FACTORY
from agents.factory.sensors import SENSORS
from agents.limits import FEW, NUMBERS, Limits, Row, refused

FLOW = {"name": "flow", "unit": "l/min", "minimum": 0.0, "maximum": 400.0, "critical": 350.0, "fast": 80.0, "retired": False}
LATER = 1_760_000_000_000


def applied(in_force_at, **changes):
    return {**FLOW, "applied_by": "ann@hq", "in_force_at": in_force_at, **changes}


def criticals(limits, *asked):
    """Critical limits of readings of a sensor type, each taken by Kafka at a time."""
    records = pl.DataFrame([{"row": row, "sensor_type": name, "arrival": at} for row, (name, at) in enumerate(asked)])
    judged = limits.when_taken(records)
    assert judged["row"].to_list() == list(range(len(asked)))
    return judged["critical"].to_list()


def test_a_sensor_type_is_known_from_when_it_is_in_force():
    limits = Limits(SENSORS, [applied(LATER)])
    assert criticals(limits, ("flow", LATER - 1), ("flow", LATER), ("temperature", LATER - 1)) == [None, 350, 150]


def test_a_reading_is_judged_by_the_limits_of_its_time_however_late_it_is_read():
    limits = Limits(SENSORS, [applied(LATER, name="temperature", critical=100.0), applied(LATER + 10, name="temperature", critical=120.0)])
    assert criticals(limits, *(("temperature", at) for at in (LATER + 10, LATER + 9, LATER, LATER - 1, -1))) == [120, 100, 100, 150, 150]


def test_a_retired_sensor_type_is_known_no_longer():
    limits = Limits(SENSORS, [applied(LATER, name="humidity", retired=True)])
    assert criticals(limits, ("humidity", LATER - 1), ("humidity", LATER), ("voltage", LATER)) == [95, None, 250]
    assert limits.latest(pl.DataFrame({"sensor_type": ["humidity"]})).row(0, named=True) == {
        "sensor_type": "humidity",
        "subject": "humidity",
        **dict.fromkeys(NUMBERS),
    }


@given(
    st.lists(
        st.tuples(st.sampled_from(["flow", "temperature"]), st.integers(0, 8), st.floats(1, 400), st.booleans()).map(
            lambda drawn: applied(LATER + drawn[1], name=drawn[0], critical=drawn[2], retired=drawn[3])
        ),
        max_size=5,
    ),
    st.lists(st.tuples(st.sampled_from(["flow", "temperature", "smell"]), st.integers(-2, 10)), min_size=1, max_size=8),
)
def test_what_a_reading_is_judged_by_does_not_depend_on_what_it_is_read_with(changes, asked):
    limits = Limits(SENSORS, sorted(changes, key=lambda change: change["in_force_at"]))
    asked = [(name, LATER + at) for name, at in asked]
    assert criticals(limits, *asked) == [critical for one in asked for critical in criticals(limits, one)]
    records = pl.DataFrame([{"sensor_type": name, "arrival": at} for name, at in asked])
    together = [*limits.when_taken(records).select("minimum", "maximum").iter_rows()]
    assert together == [limits.bounds(name, at) or (None, None) for name, at in asked]


@given(st.lists(st.sampled_from(["flow", "temperature", "humidity", "smell"]), max_size=FEW))
def test_few_records_get_the_limits_that_many_get(names):
    limits = Limits(SENSORS, [applied(LATER), applied(LATER, name="humidity", retired=True)])
    few = pl.DataFrame({"sensor_type": names, "row": range(len(names))}, {"sensor_type": pl.String, "row": pl.Int64})
    many = pl.concat([few, pl.DataFrame({"sensor_type": ["flow"] * (FEW + 1), "row": range(FEW + 1)})])
    assert limits.latest(few).equals(limits.latest(many).head(few.height))
    assert limits.latest(few).schema == limits.latest(many).schema


def test_the_columns_are_the_same_on_either_way():
    records = pl.DataFrame({"sensor_type": ["flow"], "arrival": [LATER]})
    limits = Limits(SENSORS, [applied(LATER)])
    assert limits.when_taken(records).schema == limits.when_taken(records.with_columns(arrival=pl.lit(0, pl.Int64))).schema
    assert limits.when_taken(records.clear()).schema == limits.when_taken(records).schema


def test_a_reading_is_fit_from_when_its_type_is_in_force():
    reading = {"device_id": "press-1", "sensor_type": "flow", "value": 20.0, "timestamp": LATER, "plant": "p", "key": b"press-1", "row": 0}
    records = pl.DataFrame([reading | {"arrival": LATER + row, "row": row} for row in (0, 1)])
    known = replace(FACTORY, limits=Limits(SENSORS, [applied(LATER + 1)]))
    readings, rejects = known.sort_out(records)
    assert readings.select("row", "subject", "critical").rows() == [(1, "flow", 350)]
    assert [(reject.row, reject.reason) for reject in rejects] == [(0, "unknown-sensor")]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": "Flow"}, "name"),
        ({"minimum": 400.0}, "maximum 400 is not above minimum 400"),
        ({"critical": 401.0}, "up to maximum 400"),
        ({"maximum": 10_000.0}, "maximum"),
        ({"maximum": float("inf")}, "maximum"),
        ({"critical": float("nan")}, "critical"),
        ({"fast": 0.0}, "fast"),
    ],
)
def test_a_sensor_type_that_cannot_be_is_refused_in_words(change, problem):
    assert refused(FLOW) is None
    assert problem in refused(FLOW | change)
    with pytest.raises(ValidationError):
        Row.model_validate(FLOW | change)
