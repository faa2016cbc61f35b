import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.factory.domain import FACTORY, RULES
from agents.factory.sensors import SENSORS
from agents.gateway.times import AHEAD_MS, EARLIEST_MS
from agents.rules import evaluate
from schemas.bounds import DEVICE_ID_BYTES
from schemas.rejects import Reason, Reject

ARRIVAL = 1_760_000_000_000
GOOD = {"device_id": "plant-1.press-1", "sensor_type": "temperature", "value": 21.5, "timestamp": ARRIVAL, "key": b"plant-1.press-1"}
SCHEMA = {
    "row": pl.UInt32,
    "offset": pl.Int64,
    "arrival": pl.Int64,
    "key": pl.Binary,
    "device_id": pl.String,
    "sensor_type": pl.String,
    "value": pl.Float64,
    "timestamp": pl.Int64,
}


def other(unit):
    return f"arrived at {ARRIVAL}: it looks like {unit}, milliseconds are expected"


def records(*changes: dict[str, object]) -> pl.DataFrame:
    rows = [GOOD | {"row": row, "offset": 100 + row, "arrival": ARRIVAL} | change for row, change in enumerate(changes)]
    return pl.DataFrame(rows, SCHEMA)


def named(device_id: str) -> dict[str, object]:
    return {"device_id": device_id, "key": device_id.encode()}


def test_a_good_reading_keeps_its_columns_and_gets_its_subject_and_limits():
    readings, rejects = FACTORY.sort_out(records({}))
    assert rejects == []
    limits = {"minimum": -40, "maximum": 200, "critical": 150, "fast": 30}
    assert readings.rows(named=True) == [GOOD | limits | {"row": 0, "offset": 100, "arrival": ARRIVAL, "subject": "temperature"}]


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"key": b"plant-1.press-2"}, Reason.WRONG_KEY, "device_id is plant-1.press-1"),
        ({"key": None}, Reason.WRONG_KEY, "device_id is plant-1.press-1"),
        ({"key": b"\xff\xfe"}, Reason.WRONG_KEY, "device_id is plant-1.press-1"),
        (named(""), Reason.BAD_DEVICE_ID, "device_id is of 0 bytes"),
        (named("x" * (DEVICE_ID_BYTES + 1)), Reason.BAD_DEVICE_ID, "device_id is of 201 bytes"),
        (named("й" * (DEVICE_ID_BYTES // 2 + 1)), Reason.BAD_DEVICE_ID, "device_id is of 202 bytes"),
        ({"sensor_type": "smell"}, Reason.UNKNOWN_SENSOR, "sensor_type is smell"),
        ({"sensor_type": ""}, Reason.UNKNOWN_SENSOR, "sensor_type is "),
        ({"sensor_type": "Temperature"}, Reason.UNKNOWN_SENSOR, "sensor_type is Temperature"),
        ({"value": math.nan}, Reason.NOT_FINITE, "value is NaN"),
        ({"value": math.inf}, Reason.NOT_FINITE, "value is inf"),
        ({"value": -math.inf}, Reason.NOT_FINITE, "value is -inf"),
        ({"value": -273.2}, Reason.OUT_OF_RANGE, "temperature is -273.2, not within -40.0 to 200.0"),
        ({"timestamp": 0}, Reason.BAD_TIMESTAMP, f"timestamp is 0, arrived at {ARRIVAL}"),
        ({"timestamp": ARRIVAL // 1000}, Reason.BAD_TIMESTAMP, f"timestamp is {ARRIVAL // 1000}, {other('seconds')}"),
        (
            {"timestamp": ARRIVAL * 1000},
            Reason.BAD_TIMESTAMP,
            f"timestamp is {ARRIVAL * 1000}, {other('microseconds')}",
        ),
        (
            {"timestamp": ARRIVAL * 1_000_000},
            Reason.BAD_TIMESTAMP,
            f"timestamp is {ARRIVAL}000000, {other('nanoseconds')}",
        ),
        ({"timestamp": -ARRIVAL}, Reason.BAD_TIMESTAMP, f"timestamp is -{ARRIVAL}, arrived at {ARRIVAL}"),
        ({"timestamp": EARLIEST_MS - 1}, Reason.BAD_TIMESTAMP, f"timestamp is {EARLIEST_MS - 1}, arrived at {ARRIVAL}"),
        ({"timestamp": ARRIVAL + AHEAD_MS + 1}, Reason.BAD_TIMESTAMP, f"timestamp is {ARRIVAL + AHEAD_MS + 1}, arrived at {ARRIVAL}"),
        ({"timestamp": 2**63 - 1}, Reason.BAD_TIMESTAMP, f"timestamp is {2**63 - 1}, arrived at {ARRIVAL}"),
        ({"timestamp": -(2**63)}, Reason.BAD_TIMESTAMP, f"timestamp is -{2**63}, arrived at {ARRIVAL}"),
        ({"arrival": -1}, Reason.BAD_TIMESTAMP, f"timestamp is {ARRIVAL}, arrived at -1"),
    ],
)
@pytest.mark.parametrize("neighbours", [0, 2])
def test_an_unfit_reading_is_a_reject_with_its_reason_and_its_neighbours_are_readings(change, reason, detail, neighbours):
    readings, rejects = FACTORY.sort_out(records(*[{}] * neighbours, change, *[{}] * neighbours))
    assert rejects == [Reject(neighbours, reason, detail)]
    assert readings["row"].to_list() == [row for row in range(2 * neighbours + 1) if row != neighbours]


def test_what_was_found_first_counts_where_several_things_are_wrong():
    _, rejects = FACTORY.sort_out(
        records(
            {"key": b"x", "device_id": "", "sensor_type": "smell", "value": math.nan, "timestamp": 0},
            named("") | {"sensor_type": "smell", "value": math.nan, "timestamp": 0},
            {"sensor_type": "smell", "value": math.nan, "timestamp": 0},
            {"sensor_type": "smell", "value": 1e6, "timestamp": 0},
            {"sensor_type": "smell", "value": 1e6},
        )
    )
    order = [Reason.WRONG_KEY, Reason.BAD_DEVICE_ID, Reason.NOT_FINITE, Reason.BAD_TIMESTAMP, Reason.UNKNOWN_SENSOR]
    assert [reject.reason for reject in rejects] == order


@pytest.mark.parametrize("sensor", SENSORS, ids=lambda sensor: sensor.sensor_type)
def test_a_reading_is_valid_from_minimum_to_maximum_and_critical_above_critical(sensor):
    below, above = math.nextafter(sensor.minimum, -math.inf), math.nextafter(sensor.maximum, math.inf)
    past_critical, cleared = math.nextafter(sensor.critical, math.inf), math.nextafter(0.95 * sensor.critical, -math.inf)
    values = [below, sensor.minimum, cleared, 0.95 * sensor.critical, sensor.critical, past_critical, sensor.maximum, above]
    readings, rejects = FACTORY.sort_out(records(*({"sensor_type": sensor.sensor_type, "value": value} for value in values)))
    assert [(reject.row, reject.reason) for reject in rejects] == [(0, Reason.OUT_OF_RANGE), (7, Reason.OUT_OF_RANGE)]
    conditions = evaluate(RULES, readings)
    assert conditions["above-critical/raises"].to_list() == [False, False, False, False, True, True]
    assert conditions["above-critical/clears"].to_list() == [True, True, False, False, False, False]


def test_the_limits_are_those_of_the_requirements():
    assert {(s.sensor_type, s.minimum, s.maximum, s.critical) for s in SENSORS} >= {
        ("temperature", -40, 200, 150),
        ("pressure", 0, 1000, 800),
        ("vibration", 0, 50, 40),
        ("current", 0, 100, 90),
        ("voltage", 180, 260, 250),
        ("humidity", 0, 100, 95),
    }


def test_no_rule_is_named_twice():
    assert len({rule.name for rule in FACTORY.rules}) == len(FACTORY.rules)


@pytest.mark.parametrize(
    "change", [{"timestamp": EARLIEST_MS}, {"timestamp": ARRIVAL + AHEAD_MS}, named("x" * 200), named("\x00"), named("🏭")]
)
def test_what_is_just_within_the_bounds_is_a_reading(change):
    readings, rejects = FACTORY.sort_out(records(change))
    assert (readings.height, rejects) == (1, [])


def test_no_records_are_no_readings_with_the_columns_of_readings():
    assert FACTORY.sort_out(records())[0].schema == FACTORY.sort_out(records({}))[0].schema
    assert FACTORY.sort_out(records({"key": None}))[0].schema == FACTORY.sort_out(records({}))[0].schema


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "device_id": st.text(max_size=3),
                "sensor_type": st.sampled_from(["temperature", "humidity", "smell"]),
                "value": st.floats(),
                "timestamp": st.integers(-(2**63), 2**63 - 1) | st.just(ARRIVAL),
                "key": st.none() | st.binary(max_size=3),
            }
        ).map(lambda record: record | ({"key": record["device_id"].encode()} if record["timestamp"] == ARRIVAL else {})),
        max_size=20,
    )
)
def test_every_record_is_a_reading_or_a_reject_and_both_keep_their_order(changes):
    readings, rejects = FACTORY.sort_out(records(*changes))
    rows, rejected = readings["row"].to_list(), [reject.row for reject in rejects]
    assert rows == sorted(rows)
    assert rejected == sorted(rejected)
    assert sorted(rows + rejected) == list(range(len(changes)))
