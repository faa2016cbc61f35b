from typing import NamedTuple

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.formats import FORMATS
from agents.gateway.readings import map_readings
from schemas import json_wire, protobuf_wire, wire
from schemas.bounds import PAYLOAD_BYTES
from schemas.catalog import READINGS
from schemas.rejects import Reason

TOPIC = "factory/plant-2/plant-2.press-0042/temperature"
READING = {"value": 71.5, "timestamp": 1_700_000_000_123, "location": "plant-2/hall-1", "metadata": {"shift": "early"}}
ROW = {"device_id": "plant-2.press-0042", "sensor_type": "temperature", **READING, "plant": "plant-2"}
JSON, PROTOBUF, AVRO = "application/json", "application/x-protobuf", "application/avro"
SCHEMA_ID = 7
WRITERS = {SCHEMA_ID: READINGS.codec}


class Message(NamedTuple):
    payload: bytes
    content_type: str = ""
    topic: str = TOPIC


def mapped(*messages, missing=frozenset()):
    return map_readings(messages, WRITERS, missing)


def written(content_type, row):
    frame = pl.DataFrame([row], READINGS.codec.columns)
    match content_type:
        case "application/json":
            return json_wire.encode(frame)[0]
        case "application/avro":
            return wire.encode(READINGS.codec, SCHEMA_ID, frame)[0]
        case _:
            return protobuf_wire.encode(READINGS.codec, frame)[0]


def reason_of(payload: bytes, topic: str = TOPIC, content_type: str = "") -> Reason:
    found = mapped(Message(payload, content_type, topic))
    assert found.frame.height == 0
    assert found.waiting == []
    (reject,) = found.rejects
    return reject.reason


def test_device_and_sensor_come_from_the_topic_and_the_rest_from_the_payload():
    found = mapped(Message(orjson.dumps(READING)))
    assert found.rejects == []
    assert found.frame.drop("row").to_dicts() == [ROW]


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF, AVRO])
def test_location_defaults_to_the_plant_and_metadata_to_none(content_type):
    payload = b'{"value": 7, "timestamp": 1}' if content_type == JSON else written(content_type, ROW | {"location": "", "metadata": {}})
    (row,) = mapped(Message(payload, content_type)).frame.to_dicts()
    assert (row["location"], row["metadata"]) == ("plant-2", {})


@pytest.mark.parametrize("content_type", ["", JSON, "Application/JSON; charset=utf-8"])
def test_without_a_content_type_a_payload_is_json(content_type):
    assert mapped(Message(orjson.dumps(READING), content_type)).frame.drop("row").to_dicts() == [ROW]


@pytest.mark.parametrize("content_type", [name for name, of in FORMATS.items() if of == "Protobuf"])
def test_each_name_of_protobuf_is_protobuf(content_type):
    assert mapped(Message(written(content_type, ROW), content_type)).frame.drop("row").to_dicts() == [ROW]


@pytest.mark.parametrize("content_type", ["text/html", "application/xml", "avro", "\x00"])
def test_a_content_type_that_is_not_read_is_a_reject_that_names_those_that_are(content_type):
    (reject,) = mapped(Message(orjson.dumps(READING), content_type)).rejects
    assert reject.reason is Reason.UNKNOWN_FORMAT
    assert repr(content_type) in reject.detail
    assert PROTOBUF in reject.detail


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


@pytest.mark.parametrize(
    ("content_type", "payload", "reason"),
    [
        (PROTOBUF, b"", Reason.NULL_FIELD),
        (PROTOBUF, b"\x7f", Reason.UNDECODABLE),
        (PROTOBUF, written(PROTOBUF, ROW)[:-1], Reason.UNDECODABLE),
        (AVRO, b"", Reason.BAD_MAGIC),
        (AVRO, written(AVRO, ROW)[5:], Reason.BAD_MAGIC),
        (AVRO, written(AVRO, ROW)[:-1], Reason.UNDECODABLE),
        (AVRO, b"\x00\xff\xff\xff\xff\x00", Reason.UNKNOWN_SCHEMA),
    ],
)
def test_garbage_in_binary_formats_is_rejected_with_its_reason(content_type, payload, reason):
    assert reason_of(payload, content_type=content_type) is reason


@pytest.mark.parametrize("topic", ["factory", "factory/plant-2/press", "factory/p/d/s/more", "factory//d/s"])
def test_topics_of_another_shape_are_rejected(topic):
    assert reason_of(orjson.dumps(READING), topic) is Reason.UNMAPPED_TOPIC


def test_a_payload_that_no_kafka_record_could_hold_is_rejected_unread():
    assert reason_of(b"{" + b" " * PAYLOAD_BYTES) is Reason.TOO_LARGE


@pytest.mark.parametrize("content_type", [JSON, PROTOBUF, AVRO])
@pytest.mark.parametrize("change", [{"device_id": "plant-2.press-0043"}, {"sensor_type": "pressure"}, {"plant": "plant-3"}])
def test_a_device_that_publishes_as_another_is_rejected(content_type, change):
    assert reason_of(written(content_type, ROW | change), content_type=content_type) is Reason.WRONG_TOPIC


def test_what_a_payload_does_not_say_is_not_told_of_one_on_another_device_s_topic():
    (reject,) = mapped(Message(orjson.dumps({**READING, "device_id": "x"}), "", TOPIC)).rejects
    assert reject.detail == f"device_id x on {TOPIC!r}"


def test_messages_of_an_unknown_schema_wait_and_the_others_do_not():
    payload = b"\x00\x00\x00\x00\x09" + written(AVRO, ROW)[5:]
    found = mapped(Message(payload, AVRO), Message(b"{"), Message(written(AVRO, ROW), AVRO))
    assert (found.waiting, found.unknown) == ([0], {9})
    assert found.frame["row"].to_list() == [2]
    assert [reject.row for reject in found.rejects] == [1]
    assert mapped(Message(payload, AVRO), missing={9}).rejects[0].reason is Reason.UNKNOWN_SCHEMA


readings = st.fixed_dictionaries(
    {
        "device_id": st.sampled_from(["plant-2.press-0042", ""]),
        "sensor_type": st.sampled_from(["temperature", ""]),
        "value": st.floats(allow_nan=False, allow_infinity=False),
        "timestamp": st.integers(-(2**63), 2**63 - 1),
        "location": st.text(max_size=5),
        "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
        "plant": st.sampled_from(["plant-2", ""]),
    }
)


@given(readings)
def test_the_same_reading_has_the_same_columns_in_every_format(row):
    found = mapped(*(Message(written(content_type, row), content_type) for content_type in (JSON, PROTOBUF, AVRO)))
    assert found.rejects == []
    of_json, of_protobuf, of_avro = found.frame.drop("row").to_dicts()
    assert of_json == of_protobuf == of_avro
    place = {name: ROW[name] for name in ("device_id", "sensor_type", "plant")}
    assert of_json == row | place | {"location": row["location"] or "plant-2"}


GOOD = {content_type: written(content_type, ROW) for content_type in (JSON, PROTOBUF, AVRO)}
anything = st.binary(max_size=40)
spoiled = st.sampled_from([*GOOD]).flatmap(
    lambda name: st.tuples(
        st.integers(0, len(GOOD[name]) - 1).flatmap(
            lambda at: st.binary(max_size=3).map(lambda junk: GOOD[name][:at] + junk + GOOD[name][at + 1 :])
        ),
        st.just(name),
    )
)


@given(
    st.lists(
        st.one_of(
            spoiled.map(lambda pair: Message(*pair)),
            st.builds(Message, anything, st.sampled_from([*GOOD, "", "text/plain"]), st.sampled_from([TOPIC, "factory/x"])),
            st.sampled_from([Message(payload, name) for name, payload in GOOD.items()]),
        )
    )
)
def test_every_message_of_every_format_is_a_row_a_reject_or_waits_for_its_schema(messages):
    found = mapped(*messages)
    rejected = [reject.row for reject in found.rejects]
    assert sorted([*found.frame["row"], *rejected, *found.waiting]) == list(range(len(messages)))
    assert rejected == sorted(rejected)
    good = {row for row, message in enumerate(messages) if message.payload == GOOD.get(message.content_type) and message.topic == TOPIC}
    assert good <= {*found.frame["row"]}


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_any_json_in_any_field_is_a_row_or_a_reject(anything):
    try:
        messages = [Message(orjson.dumps(READING | {field: anything})) for field in (*READING, "device_id", "sensor_type")]
    except TypeError:  # orjson refuses integers beyond 64 bits and lone surrogates
        return
    found = mapped(*messages)
    assert found.frame.height + len(found.rejects) == len(messages)
