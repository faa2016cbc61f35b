"""Decoding is total: whatever bytes come in whatever format, by whatever row, end as an envelope or a dead letter."""

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.city.refine import refine
from agents.city.sensors import SENSORS
from agents.gateway.envelopes import Delivery, envelop
from agents.gateway.formats import FORMATS
from agents.gateway.letters import of_messages
from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.message import Post, Sender, Source
from agents.gateway.place import ENVELOPE, Place
from agents.gateway.readings import map_readings
from agents.limits import Limits
from schemas import wire
from schemas.bounds import DEPTH, RECORD_BYTES
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.codec import Codec
from schemas.protobuf_schema import message_type
from schemas.rejects import Reason

NOW = 1_790_000_000_000
LAMP = '{"type": "record", "name": "Lamp", "fields": [{"name": "on", "field_number": 1, "type": "boolean"}]}'
TREE = Codec(
    '{"type":"record","name":"Tree","fields":[{"name":"v","type":["null","long"]},{"name":"m","type":{"type":"map","values":"bytes"}}]}'
)
ROWS = [
    *DEFAULT,
    Row(pattern="lamps/+/state", topic="lighting.status.raw", data_type="lighting", record=LAMP),
    Row(pattern="meters/+/raw", topic="env.air.raw", data_type="environment", layout="temperature:>i2/10 humidity:u1 x:f8"),
]
WRITERS = {1: READINGS.codec, 2: TREE, 3: Codec("{}"), 4: ENVELOPE}
WRITERS[5] = Codec('{"type":"record","name":"Lamp","fields":[{"name":"power","type":["null","int"]}]}')
TOPICS = [row.pattern.replace("+", "d-1").replace("#", "x/y") for row in ROWS] + [
    "spBv1.0/g/NDATA/n",
    "spBv1.0/STATE/h",
    "any/thing",
    "x",
    "factory/p/d/t",
]
TYPES = [*FORMATS, "text/plain", "application/json; charset=utf-16", "image/png", "\0", "x" * 20_000]


def nested(levels, opening=b"[", closing=b"]"):
    return opening * levels + closing * levels


def varint(number):
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def field(number, content):
    """A length-delimited field of Protobuf."""
    return varint(number << 3 | 2) + varint(len(content)) + content


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["value", "timestamp", "sequence", "seq", "message_id", "district", "noise", "on", "plant", "location"])
            | st.text(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
).map(orjson.dumps)
DEEP = st.tuples(
    st.sampled_from(["timestamp", "district", "noise", "sequence", "message_id", "value", "location", "metadata"]), st.integers(1, 1_300)
).map(lambda found: b'{"sequence":1,"' + found[0].encode() + b'":' + nested(found[1]) + b"}")
SPARKPLUG = st.lists(st.tuples(st.integers(1, 20), st.binary(max_size=20))).map(
    lambda metric: field(2, b"".join(field(number, content) for number, content in metric))
)
AVRO = st.tuples(st.integers(0, 2**32 - 1) | st.sampled_from([*WRITERS]), st.binary(max_size=60)).map(
    lambda found: b"\0" + found[0].to_bytes(4) + found[1]
)
PAYLOADS = (
    st.binary(max_size=200)
    | JSON
    | DEEP
    | SPARKPLUG
    | AVRO
    | st.sampled_from([bytes.fromhex("12060a02fffe5005"), bytes.fromhex("12030a01ff")])
)
MESSAGES = st.builds(
    Post,
    st.sampled_from(TOPICS) | st.text(max_size=30) | st.integers(0, 70_000).map(lambda size: "a/" * size),
    PAYLOADS,
    st.integers(0, 2),
    st.sampled_from(TYPES),
    st.dictionaries(st.text(max_size=5) | st.just("message_id"), st.text(st.characters(exclude_categories=()), max_size=9), max_size=3),
)


def place():
    made = Place("gw-1", "run", "default")
    made.adopt(Routes(ROWS))
    made.writers = WRITERS
    return made


@settings(max_examples=100, deadline=None)
@given(st.lists(MESSAGES, max_size=8))
def test_every_message_is_an_envelope_a_dead_letter_or_noted_and_every_envelope_a_measurement_or_a_reject(messages):
    made = envelop([Delivery(messages, Source.MQTT, Sender(), NOW)], place(), 5, NOW)
    assert sorted([*made.rows, *(reject.row for reject in made.rejects), *made.coalesced]) == [*range(len(messages))]
    letters = of_messages(messages, made.rejects, NOW)
    values = made.values + wire.encode(DEAD_LETTERS.codec, 6, letters)
    headers = [sum(len(name.encode()) + len(value) for name, value in each) for each in made.headers]
    assert all(len(value) + 2_000 + head < RECORD_BYTES for value, head in zip(values, headers + [0] * letters.height, strict=True))
    decoded = wire.decode(made.values, ENVELOPE, {5: ENVELOPE})
    assert decoded.rejects == []
    envelopes = decoded.frame.with_columns(origin=pl.lit("t-0"), offset=pl.col("row").cast(pl.Int64), arrival=pl.lit(NOW))
    refined = refine(envelopes, Limits(SENSORS))
    assert {*refined.readings["row"]} | {reject.row for reject in refined.rejects} == {*range(len(made.values))}
    assert not {*refined.readings["row"]} & {reject.row for reject in refined.rejects}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.builds(Post, st.just("factory/p/d/temperature") | st.text(max_size=20), PAYLOADS, st.just(1), st.sampled_from(TYPES)), max_size=8
    )
)
def test_every_message_of_a_factory_is_a_reading_a_reject_or_waits(messages):
    mapped = map_readings(messages, WRITERS)
    found = sorted([*mapped.frame["row"], *(reject.row for reject in mapped.rejects), *mapped.waiting])
    assert found == [*range(len(messages))]
    of_messages(messages, mapped.rejects, NOW)


def envelope(payload, topic="lights/lamp-7/status", content_type="", **headers):
    made = envelop([Delivery([Post(topic, payload, 1, content_type, headers)], Source.HTTP, Sender(), NOW)], place(), 5, NOW)
    if made.rejects:
        return made.rejects[0]
    row = wire.decode(made.values, ENVELOPE, {5: ENVELOPE}).frame.to_dicts()[0]
    return row | {"defect": row["defect"], "mark": made.marks[0]}


@pytest.mark.parametrize(
    ("topic", "payload", "content_type", "said"),
    [
        ("sensors/s/air", b" null\n", "", "null is no value"),
        ("sensors/s/air", b'{"co2": nan}', "", "invalid literal, expected 'null': line 1 column 9"),
        ("sensors/s/air", b'{"co2":400,"co2":4000}', "", "member 'co2' is there twice"),
        ("sensors/s/air", b'{"co2":"\xe4"}', "", "not UTF-8: invalid continuation byte at byte 9"),
        ("meters/m/raw", b"1234567", "", "7 bytes, the layout has 11"),
        ("lamps/l/state", b"\xff", "application/protobuf", "not this Protobuf message"),
        ("lamps/l/state", b"\x0d1234", "application/protobuf", "not this Protobuf message: on is of wire type 5"),
        ("lights/l/status", b"\xff", "application/protobuf", "names no record"),
        ("lights/l/status", b"\x00\x00", "application/avro", "Avro without Confluent's frame: 2 bytes, starting 0000"),
        (
            "lights/l/status",
            b"\0" + (7).to_bytes(8) + b"body",
            "application/avro",
            "schema id 0, or 7 in eight bytes: let the producer write",
        ),
        ("lights/l/status", b"\0" * 5, "application/avro", "schema id 0"),
        ("lights/l/status", b"\x00\x00\x00\x00\x09x", "application/avro", "the registry has no schema 9"),
        ("lights/l/status", b"\x00\x00\x00\x00\x02\x07", "application/avro", "no such branch of a union"),
        (
            "sensors/s/air",
            b"\x00\x00\x00\x00\x05\x02" + varint(2 << 40),
            "application/avro",
            "Lamp.power is 1099511627776, which its type has not",
        ),
        ("lights/l/status", b"{}", "image/png", "content type 'image/png' is none that is read"),
        ("lights/l/status", nested(DEPTH + 1), "", "nested more than 64 levels deep"),
    ],
)
def test_what_cannot_be_decoded_says_why_in_the_decoder_s_words(topic, payload, content_type, said):
    row = envelope(payload, topic, content_type)
    assert (row["data_type"], row["data"]) == ("raw", payload.hex())
    assert said in row["defect"]
    one = pl.DataFrame([row | {"row": 0, "origin": "t-0", "offset": 0, "arrival": NOW}])
    (reject,) = refine(one, Limits(SENSORS)).rejects
    assert (reject.reason, said in reject.detail) == (Reason.UNKNOWN_FORMAT, True)


def test_a_schema_id_that_no_registry_has_is_not_asked_for():
    from agents.gateway.payloads import awaited

    frame = Post("lights/l/status", bytes.fromhex("00ffffffff01"), 1, "application/avro")
    assert awaited(frame, {}, frozenset()) is None
    assert awaited(frame._replace(payload=bytes.fromhex("000000000901")), {}, frozenset()) == 9


def test_a_long_name_of_a_message_is_known_by_its_digest_and_an_equal_one_is_still_the_same():
    first, second, other = (envelope(b'{"message_id":"%s"}' % (b"x" * 390_000 + end)) for end in (b"a", b"a", b"b"))
    assert first["mark"] == second["mark"] != other["mark"]
    assert len(first["message_id"].encode()) <= 200
    assert len(first["mark"].encode()) <= 200


def test_a_message_whose_headers_are_too_many_for_a_record_is_a_dead_letter():
    reject = envelope(b"{}", **{f"h{number}": "x" * 60_000 for number in range(20)})
    assert (reject.reason, "1200050 bytes of headers" in reject.detail) == (Reason.TOO_LARGE, True)


def test_a_sequence_number_with_a_nested_time_makes_a_name():
    row = envelope(b'{"sequence":1,"timestamp":' + nested(60) + b"}")
    assert row["message_id"].startswith("lights/lamp-7/status#1@a list of 1 item")


def test_protobuf_by_a_row_s_record_is_read():
    written = message_type(Codec(LAMP))(on=True).SerializeToString()
    assert envelope(written, "lamps/l/state", "application/protobuf")["data"] == '{"on":true}'


@pytest.mark.parametrize(("payload", "data"), [(b"ON", '"ON"'), (b" open\n", '"open"'), (b"21.5", "21.5"), (b"true", "true")])
@pytest.mark.parametrize("content_type", ["", "text/plain", "application/octet-stream"])
def test_a_word_or_a_number_by_itself_is_a_value(payload, data, content_type):
    row = envelope(payload, content_type=content_type)
    assert (row["data"], row["data_type"], row["defect"]) == (data, "lighting", "")


@pytest.mark.parametrize("payload", [b"", b"-", b"21,5", b"x" * 65, b"temperature=21.5"])
def test_what_is_neither_stays_as_it_is(payload):
    assert envelope(payload, content_type="text/plain")["data_type"] == "raw"


@pytest.mark.parametrize("logical_type", ["local-timestamp-millis", "local-timestamp-micros"])
@pytest.mark.parametrize("optional", [True, False])
def test_a_time_of_avro_without_a_zone_is_no_timestamp(logical_type, optional):
    at = {"type": "long", "logicalType": logical_type}
    fields = [{"name": "co2", "type": "double"}, {"name": "timestamp", "type": ["null", at] if optional else at}]
    where = place()
    where.writers = {7: Codec(orjson.dumps({"type": "record", "name": "Air", "fields": fields}).decode())}
    body = b"\0\0\0\0\0\0\x79\x40" + b"\x02" * optional + varint(2 * (NOW - 3_600_000))
    message = Post("sensors/s/air", b"\0\0\0\0\x07" + body, 1, "application/avro")
    made = envelop([Delivery([message], Source.MQTT, Sender(), NOW)], where, 5, NOW)
    (reject,) = made.rejects
    assert (made.values, reject.reason) == ([], Reason.BAD_TIMESTAMP)
    assert reject.detail == f"timestamp: a {logical_type} names no zone, a timestamp is needed"


def test_a_row_says_which_member_is_the_time_and_in_what_unit():
    def timed(payload, **said):
        where = place()
        where.adopt(Routes([*ROWS, Row(pattern="boxes/+/data", topic="iot.boxes.raw", data_type="boxes", **said)]))
        made = envelop([Delivery([Post("boxes/b-1/data", payload)], Source.MQTT, Sender(), NOW)], where, 5, NOW)
        if made.rejects:
            return made.rejects[0].reason, made.rejects[0].detail
        return orjson.loads(wire.decode(made.values, ENVELOPE, {5: ENVELOPE}).frame["data"][0])

    assert timed(b'{"ts":1790000000,"x":1}', time="ts", time_unit="s") == {"ts": 1790000000, "x": 1, "timestamp": NOW}
    assert timed(b'{"timestamp":"2026-11-29T20:00:00Z"}', time_unit="iso8601") == {"timestamp": 1_795_982_400_000}
    assert timed(b'{"x":1}', time="ts", time_unit="s") == {"x": 1}
    assert timed(b'{"ts":1}') == {"ts": 1}
    assert timed(b'{"ts":1e300}', time="ts", time_unit="s")[1].startswith("ts: 1e+300 is no time in seconds")
    bad = timed(b'{"at":"2026-11-29T20:00:00"}', time="at", time_unit="iso8601")
    assert bad == (Reason.BAD_TIMESTAMP, "at: '2026-11-29T20:00:00' names no zone: Z, or an offset like +01:00")
