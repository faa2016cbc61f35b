import math
from datetime import UTC, datetime

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from agents.city.guidelines import energy, level
from agents.city.kinds import KINDS
from agents.city.refine import refine
from agents.city.sensors import LIMITS, SENSORS
from agents.limits import Limits
from schemas.catalog import CITY_READINGS, DISTRICTS, NOISE
from schemas.rejects import Reason

NOW = 1_790_000_000_000
ENVELOPE = {
    "message_id": "m",
    "device_id": "st-1",
    "tenant_id": "city",
    "source_protocol": "mqtt",
    "original_topic": "sensors/st-1/air",
    "ingestion_time": NOW - 5,
    "processing_time": NOW - 4,
    "data_type": "environment",
    "metadata": {"qos": 1, "priority": "NORMAL", "gateway_node": "gw-1"},
    "defect": "",
    "origin": "env.air.raw-2",
    "offset": 0,
    "arrival": NOW,
}
SCHEMA = {**NOISE.codec.columns, "row": pl.UInt32, "origin": pl.String, "offset": pl.Int64, "arrival": pl.Int64}
APPLIED = {"minimum": 0.0, "maximum": 100.0, "critical": 80.0, "fast": 10.0, "unit": "%", "retired": False, "applied_by": "me"}


def envelopes(*messages, first=0):
    """Rows of messages, each a document or a text, or a pair of what is said of its envelope and one of these."""
    rows = []
    for number, message in enumerate(messages):
        said, data = message if isinstance(message, tuple) else ({}, message)
        text = data if isinstance(data, str) else orjson.dumps(data).decode()
        rows.append({**ENVELOPE, "offset": first + number, **said, "data": text, "row": number})
    return pl.DataFrame(rows, SCHEMA)


def measured(*messages, limits=LIMITS):
    return refine(envelopes(*messages), limits)


def values(refined):
    return list(refined.readings.select("sensor_type", "value").iter_rows())


def reasons(refined):
    return [(reject.row, reject.reason, reject.detail) for reject in refined.rejects]


def test_each_measurement_of_a_message_is_a_reading_and_its_other_members_are_not():
    refined = measured({"timestamp": NOW - 9, "sequence": 4, "district": "riverside", "pm25": 12.5, "no2": 40, "firmware": 7, "model": "x"})
    first, second = refined.readings.iter_rows(named=True)
    assert first == {
        **{name: ENVELOPE[name] for name in ("device_id", "data_type", "tenant_id", "message_id")},
        "row": 0,
        "sensor_type": "pm25",
        "value": 12.5,
        "timestamp": NOW - 9,
        "district": "riverside",
        "origin": "env.air.raw-2",
        "position": 0,
        "historical": False,
    }
    assert (second["sensor_type"], second["value"], second["position"]) == ("no2", 40, 1)
    assert not refined.rejects
    assert refined.readings.columns == ["row", *CITY_READINGS.codec.columns]
    assert refined.districts.columns == ["row", *DISTRICTS.codec.columns]


def test_what_the_device_says_is_of_the_past_is_told_so():
    refined = measured({"pm25": 1, "is_historical": True}, {"pm25": 1, "is_historical": False}, {"pm25": 1, "is_historical": 1})
    assert refined.readings["historical"].to_list() == [True, False, False]
    assert values(refined) == [("pm25", 1)] * 3


def test_a_message_of_one_value_is_named_by_its_topic():
    assert values(measured(({"original_topic": "sensors/st-1/noise"}, {"value": 61}))) == [("noise", 61)]
    assert values(measured(({"original_topic": "sensors/st-1/noise"}, {"value": 61, "noise": 62}))) == [("noise", 62)]


def test_yes_and_no_are_one_and_zero():
    refined = measured(({"data_type": "manhole"}, {"open": True, "tilt_deg": 0}), ({"data_type": "parking"}, {"occupied": False}))
    assert values(refined) == [("open", 1), ("tilt_deg", 0), ("occupied", 0)]


@pytest.mark.parametrize(
    ("light", "unlit"),
    [
        ({"on": True, "power_w": 0.3}, [1.0]),
        ({"on": True, "power_w": 80}, [0.0]),
        ({"on": False, "power_w": 0}, [0.0]),
        ({"on": True}, []),
        ({"power_w": 0}, []),
    ],
)
def test_a_light_that_is_on_and_takes_no_power_is_unlit(light, unlit):
    readings = measured(({"data_type": "lighting"}, light)).readings
    assert readings.filter(sensor_type="unlit")["value"].to_list() == unlit
    assert readings["position"].to_list() == list(range(readings.height))


def test_the_density_of_traffic_is_flow_by_speed_and_unknown_where_it_stands():
    refined = measured(
        ({"data_type": "traffic"}, {"vehicles_per_min": 20, "speed_kmh": 30}),
        ({"data_type": "traffic"}, {"vehicles_per_min": 0, "speed_kmh": 0}),
    )
    assert refined.readings.filter(sensor_type="density_per_km")["value"].to_list() == [40]


@pytest.mark.parametrize(
    ("message", "reason", "detail"),
    [
        ("{", Reason.UNDECODABLE, "data is not JSON"),
        ("[1]", Reason.UNDECODABLE, "data is a list, not an object"),
        ("7", Reason.UNDECODABLE, "data is a number, not an object"),
        ({"pm25": "high"}, Reason.UNDECODABLE, "pm25 is a text, not a number"),
        ({"pm25": {"mean": 1}, "no2": 3}, Reason.UNDECODABLE, "pm25 is an object, not a number"),
        ({"pm25": 1, "district": 4}, Reason.UNDECODABLE, "district is a number, not a text"),
        ({"pm25": 1, "timestamp": "today"}, Reason.BAD_TIMESTAMP, "timestamp is 'today'"),
        ({"pm25": 1, "timestamp": NOW // 1000}, Reason.BAD_TIMESTAMP, f"timestamp is {NOW // 1000}"),
        ({"pm25": 1, "timestamp": NOW + 60_001}, Reason.BAD_TIMESTAMP, f"timestamp is {NOW + 60_001}"),
        ({"pm25": 1, "timestamp": True}, Reason.BAD_TIMESTAMP, "timestamp is True"),
        ({"pm25": 1, "timestamp": 2**63 + 1}, Reason.BAD_TIMESTAMP, "timestamp is 9223372036854775809"),
        ({"smell": 4}, Reason.UNKNOWN_SENSOR, 'no sensor type is a member of {"smell":4}'),
        ({"pm25": None}, Reason.NULL_FIELD, "pm25: null"),
        ({"pm25": True, "no2": 3}, Reason.UNDECODABLE, "pm25 is a yes or no, not a number: True"),
        ({}, Reason.UNKNOWN_SENSOR, "no sensor type is a member of {}"),
        (({"data_type": "raw", "defect": "7 bytes"}, "00ff"), Reason.UNKNOWN_FORMAT, "the gateway could not decode the payload: 7 bytes"),
        ({"noise": 50, "district": "x" * 201}, Reason.TOO_LARGE, "district is a text of 201 characters"),
        ({"noise": 50, "district": "é" * 101}, Reason.TOO_LARGE, "at most 200 bytes are taken"),
        (f'{{"on":true,"timestamp":{"[" * 60 + "]" * 60}}}', Reason.BAD_TIMESTAMP, "timestamp is a list of 1 item"),
        (
            f'{{"on":true,"timestamp":{"[" * 999 + "]" * 999}}}',
            Reason.UNDECODABLE,
            "nested more than 64 levels deep, at member 'timestamp'",
        ),
    ],
)
@pytest.mark.parametrize("neighbours", [0, 2])
def test_a_message_that_cannot_be_used_is_a_reject_and_its_neighbours_are_readings(message, reason, detail, neighbours):
    good = [{"pm25": 1}] * neighbours
    refined = measured(*good, message, *good)
    ((row, found, said),) = reasons(refined)
    assert (row, found) == (neighbours, reason)
    assert detail in said
    assert refined.readings["row"].to_list() == [row for row in range(2 * neighbours + 1) if row != neighbours]


SEEN = NOW // 1000 * 1000


@pytest.mark.parametrize(
    ("said", "name", "unit"),
    [
        (SEEN // 1000, "seconds", "s"),
        (SEEN * 1000, "microseconds", "us"),
        (SEEN * 1_000_000, "nanoseconds", "ns"),
        (datetime.fromtimestamp(SEEN / 1000, UTC).isoformat(), "a time of ISO 8601", "iso8601"),
    ],
)
@pytest.mark.parametrize("topic", ["sensors/st-1/air", "spBv1.0/g/DDATA/n/d"])
def test_a_time_in_another_unit_is_told_with_the_unit_and_where_a_row_can_say_it(said, name, unit, topic):
    (detail,) = (detail for _, _, detail in reasons(measured(({"original_topic": topic}, {"pm25": 1, "timestamp": said}))))
    assert f"{said}" in detail
    assert f"it looks like {name}, milliseconds are expected" in detail
    # Sparkplug's specification says the unit, no row
    assert detail.endswith(f"mapping row says time_unit: {unit}") == (topic != "spBv1.0/g/DDATA/n/d")


@pytest.mark.parametrize(("said", "name"), [(SEEN / 1000 + 0.25, "seconds"), (SEEN + 0.5, "milliseconds")])
def test_a_time_with_a_fraction_is_told_what_to_send_and_no_row_that_would_not_read_it(said, name):
    ((_, reason, detail),) = reasons(measured({"pm25": 1, "timestamp": said}))
    assert reason is Reason.BAD_TIMESTAMP
    assert detail.endswith(f"it looks like {name} with a fraction, a time is a whole number: send whole milliseconds")


def test_a_device_without_a_clock_is_timed_by_the_gateway():
    assert measured({"pm25": 1}).readings["timestamp"].to_list() == [NOW - 5]


def test_a_device_type_nobody_wrote_code_for_needs_a_sensor_type_only():
    message = ({"data_type": "bin"}, {"fill_level": 64, "lid": "ajar"})
    assert reasons(measured(message))[0][1] == Reason.UNKNOWN_SENSOR
    limits = Limits(SENSORS, [{**APPLIED, "name": "fill_level", "in_force_at": NOW}])
    assert values(measured(message, limits=limits)) == [("fill_level", 64)]
    assert reasons(measured(({"data_type": "bin", "arrival": NOW - 1}, {"fill_level": 64}), limits=limits))[0][1] == Reason.UNKNOWN_SENSOR


def test_a_retired_sensor_type_is_measured_no_more():
    limits = Limits(SENSORS, [{**APPLIED, "name": "pm25", "retired": True, "in_force_at": NOW}])
    assert values(measured({"pm25": 1, "pm10": 2}, limits=limits)) == [("pm10", 2)]


def test_districts_are_told_of_what_is_sound_and_they_are_judged_by():
    said = {"district": "old town", "pm25": 12, "pm10": -4, "noise": 80, "power_w": 3, "timestamp": NOW - 1}
    districts = measured(said, {"pm25": 3}).districts
    assert [(row["device_id"], row["sensor_type"], row["value"], row["station"]) for row in districts.iter_rows(named=True)] == [
        ("old town", "pm25", 12, "st-1"),
        ("old town", "noise", pytest.approx(0.01), "st-1"),
    ]
    assert districts["position"].to_list() == [0, 2]


@given(st.floats(10, 139))
def test_a_level_of_noise_is_that_of_its_energy(db):
    (again,) = (pl.select(level(energy(pl.lit(db)))).item(),)
    assert math.isclose(again, db, rel_tol=1e-9)


def test_the_energy_of_the_loudest_noise_fits_the_sums():
    (noise,) = (sensor for sensor in SENSORS if sensor.sensor_type == "noise")
    assert pl.select(energy(pl.lit(float(noise.maximum)))).item() < 8192


def test_every_member_of_a_kind_and_all_that_is_derived_is_a_sensor_type():
    names = {sensor.sensor_type for sensor in SENSORS}
    for kind in KINDS.values():
        assert kind.members | kind.derived.keys() <= names


MEMBERS = st.dictionaries(
    st.sampled_from(["pm25", "on", "power_w", "speed_kmh", "vehicles_per_min", "open", "value", "timestamp", "district", "smell"]),
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1, 1e3) | st.sampled_from(["", "x", NOW, NOW - 4, [], {}]),
    max_size=5,
)
MESSAGES = st.tuples(
    st.fixed_dictionaries(
        {
            "data_type": st.sampled_from([*KINDS, "raw", "bin"]),
            "device_id": st.sampled_from(["a", "b"]),
            "original_topic": st.sampled_from(["sensors/a/noise", "x", ""]),
            "arrival": st.integers(NOW - 3, NOW + 3),
        }
    ),
    MEMBERS | st.text(max_size=4),
)


@given(st.lists(MESSAGES, max_size=12), st.data())
def test_what_becomes_of_messages_does_not_depend_on_their_batch_and_nothing_vanishes(messages, data):
    limits = Limits(SENSORS, [{**APPLIED, "name": "smell", "in_force_at": NOW}])
    whole = refine(envelopes(*messages), limits)
    cut = data.draw(st.integers(0, len(messages)))
    head = refine(envelopes(*messages[:cut]), limits)
    tail = refine(envelopes(*messages[cut:], first=cut), limits)
    for name in ("readings", "districts"):
        parts = [getattr(head, name), getattr(tail, name).with_columns(pl.col("row") + cut)]
        assert_frame_equal(pl.concat(parts), getattr(whole, name), check_dtypes=False)
    assert [*reasons(head), *((row + cut, *why) for row, *why in reasons(tail))] == reasons(whole)
    assert {reject.row for reject in whole.rejects} | {*whole.readings["row"]} == {*range(len(messages))}
    both = {reject.row for reject in whole.rejects} & {*whole.readings["row"]}
    assert all("not a number" in said for row, _, said in reasons(whole) if row in both)
    assert whole.readings["position"].to_list() == sorted(set(whole.readings["position"]))


def test_a_time_is_the_same_number_with_a_decimal_point_or_an_exponent():
    times = [NOW - 1_000, float(NOW - 1_000), "1.789999999000e12"]
    messages = [f'{{"pm25":1,"timestamp":{at}}}' for at in times]
    assert measured(*messages).readings["timestamp"].to_list() == [NOW - 1_000] * 3
    assert reasons(measured({"pm25": 1, "timestamp": NOW - 0.5}))[0][1] is Reason.BAD_TIMESTAMP


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("sensors/st-1/temperature", "21.5", ("temperature", 21.5)),
        ("sensors/st-1/noise", "50", ("noise", 50.0)),
        ("lights/st-1/on", "true", ("on", 1.0)),
        ("lights/st-1/on", '"ON"', ("on", 1.0)),
        ("manhole/st-1/open", '"off"', ("open", 0.0)),
    ],
)
def test_a_value_by_itself_is_the_one_that_the_topic_s_last_level_names(topic, payload, expected):
    refined = measured(({"original_topic": topic, "ingestion_time": NOW - 5}, payload))
    assert (values(refined), refined.readings["timestamp"].to_list()) == ([expected], [NOW - 5])


def test_a_word_where_a_number_is_needed_is_told_of():
    (reject,) = reasons(measured(({"original_topic": "sensors/st-1/temperature"}, '"ON"')))
    assert reject[1:] == (Reason.UNDECODABLE, "temperature is a text, not a number: 'ON'")


@pytest.mark.parametrize(
    ("value", "told"),
    [("NaN", "a text"), ("21.5", "a text"), (True, "a yes or no"), ([1, 2], "a list"), ({"value": 4, "quality": 0}, "an object")],
)
@pytest.mark.parametrize("data_type", ["sparkplug", "bin"])
def test_what_should_be_a_measurement_and_is_none_is_told_and_the_others_of_its_message_are_readings(data_type, value, told):
    refined = measured(({"data_type": data_type}, {"temperature": value, "humidity": 40, "on": True}))
    assert values(refined) == [("humidity", 40), ("on", 1)]
    ((row, reason, said),) = reasons(refined)
    assert (row, reason) == (0, Reason.UNDECODABLE)
    assert said.startswith(f"temperature is {told}, not a number: ")


def test_a_lamp_whose_power_is_said_by_yes_is_not_told_to_be_dark():
    refined = measured(({"data_type": "lighting"}, {"on": True, "power_w": True}))
    assert (values(refined), reasons(refined)) == ([], [(0, Reason.UNDECODABLE, "power_w is a yes or no, not a number: True")])


def test_true_by_itself_is_no_degree():
    ((_, reason, said),) = reasons(measured(({"original_topic": "sensors/st-1/temperature"}, "true")))
    assert (reason, said) == (Reason.UNDECODABLE, "temperature is a yes or no, not a number: True")
