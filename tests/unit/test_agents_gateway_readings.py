import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.readings import MAX_PAYLOAD_BYTES, map_readings
from schemas.rejects import Reason

TOPIC = "factory/plant-2/plant-2.press-0042/temperature"
READING = {"value": 71.5, "timestamp": 1_700_000_000_123, "location": "plant-2/hall-1", "metadata": {"shift": "early"}}


def reason_of(payload: bytes, topic: str = TOPIC) -> Reason:
    mapped = map_readings([topic], [payload])
    assert mapped.frame.height == 0
    (reject,) = mapped.rejects
    return reject.reason


def test_device_and_sensor_come_from_the_topic_and_the_rest_from_the_payload():
    mapped = map_readings([TOPIC], [orjson.dumps(READING)])
    assert mapped.rejects == []
    assert mapped.frame.to_dicts() == [
        {
            "device_id": "plant-2.press-0042",
            "sensor_type": "temperature",
            "value": 71.5,
            "timestamp": 1_700_000_000_123,
            "location": "plant-2/hall-1",
            "metadata": {"shift": "early"},
            "plant": "plant-2",
        }
    ]


def test_location_defaults_to_the_plant_and_metadata_to_none():
    (row,) = map_readings([TOPIC], [b'{"value": 7, "timestamp": 1}']).frame.to_dicts()
    assert (row["value"], row["location"], row["metadata"]) == (7.0, "plant-2", {})


@pytest.mark.parametrize("missing", ["value", "timestamp"])
def test_missing_and_null_fields_are_rejected(missing):
    without = {k: v for k, v in READING.items() if k != missing}
    assert reason_of(orjson.dumps(without)) is Reason.NULL_FIELD
    assert reason_of(orjson.dumps(without | {missing: None})) is Reason.NULL_FIELD


@pytest.mark.parametrize(
    "change",
    [
        {"value": "71.5"},
        {"value": True},
        {"timestamp": 1.5},
        {"timestamp": 2**64 - 1},
        {"timestamp": "2024-01-01"},
        {"location": 7},
        {"metadata": []},
        {"metadata": {"line": 3}},
    ],
)
def test_fields_of_another_type_are_rejected_not_converted(change):
    assert reason_of(orjson.dumps(READING | change)) is Reason.INCOMPATIBLE_SCHEMA


@pytest.mark.parametrize("payload", [b"", b"{", orjson.dumps(READING)[:-3], b"\xff\xfe", b'{"value": NaN, "timestamp": 1}'])
def test_payloads_that_are_not_json_are_rejected(payload):
    assert reason_of(payload) is Reason.UNDECODABLE


@pytest.mark.parametrize("payload", [b"null", b"[]", b"3", b'"x"'])
def test_json_that_is_no_object_is_rejected(payload):
    assert reason_of(payload) is Reason.INCOMPATIBLE_SCHEMA


@pytest.mark.parametrize("topic", ["factory", "factory/plant-2/press", "factory/p/d/s/more", "factory//d/s"])
def test_topics_of_another_shape_are_rejected(topic):
    assert reason_of(orjson.dumps(READING), topic) is Reason.UNMAPPED_TOPIC


def test_a_payload_that_no_kafka_record_could_hold_is_rejected_unread():
    assert reason_of(b"{" + b" " * MAX_PAYLOAD_BYTES) is Reason.TOO_LARGE


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(orjson.dumps(READING)))))
def test_every_message_is_a_row_or_a_reject(payloads):
    mapped = map_readings([TOPIC] * len(payloads), payloads)
    assert mapped.frame.height + len(mapped.rejects) == len(payloads)
    assert [r.row for r in mapped.rejects] == [i for i, p in enumerate(payloads) if p != orjson.dumps(READING)]


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_in_any_field_is_a_row_or_a_reject(anything):
    try:
        payloads = [orjson.dumps(READING | {field: anything}) for field in READING]
    except TypeError:  # orjson refuses integers beyond 64 bits and lone surrogates
        return
    mapped = map_readings([TOPIC] * len(payloads), payloads)
    assert mapped.frame.height + len(mapped.rejects) == len(payloads)
