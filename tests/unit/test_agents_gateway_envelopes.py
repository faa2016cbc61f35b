import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.envelopes import Delivery, envelop
from agents.gateway.fleet import Fleet
from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.message import Post, Sender, Source
from agents.gateway.payloads import awaited
from agents.gateway.place import ENVELOPE, Place
from agents.gateway.terms import Policy, Terms
from schemas import wire
from schemas.bounds import PAYLOAD_BYTES
from schemas.codec import Codec
from schemas.protobuf_schema import message_type
from schemas.reference import read_record
from schemas.rejects import Reason

LAMP = Codec(
    '{"type": "record", "name": "Lamp", "fields": ['
    '{"name": "on", "field_number": 1, "type": "boolean"}, {"name": "power_w", "field_number": 2, "type": "double"}]}'
)
ANYBODY = Sender()
ID = 5
TENANTS = frozenset({"parks", "roads"})


def place(*rows):
    made = Place("gw-1", "run", "default", TENANTS)
    made.adopt(Routes([*DEFAULT, *rows]))
    return made


def written(made):
    return [read_record(ENVELOPE, value) for value in made.values]


def one(message, *rows, sender=ANYBODY, source=Source.MQTT, writers=None):
    where = place(*rows)
    where.writers = writers or {}
    made = envelop([Delivery([message], source, sender, 1_000)], where, ID, 1_001)
    assert not made.rejects
    return written(made)[0], made


def test_a_message_is_put_into_the_standard_envelope():
    row, made = one(Post("lights/l-1/status", b'{"on": true, "sequence": 7, "timestamp": 5}', 1))
    assert row == {
        "message_id": "lights/l-1/status#7@5",
        "device_id": "l-1",
        "tenant_id": "default",
        "source_protocol": "mqtt",
        "original_topic": "lights/l-1/status",
        "ingestion_time": 1_000,
        "processing_time": 1_001,
        "data": '{"on": true, "sequence": 7, "timestamp": 5}',
        "data_type": "lighting",
        "metadata": {"qos": 1, "priority": "NORMAL", "gateway_node": "gw-1"},
        "defect": "",
    }
    assert made.headers == [[("device_id", b"l-1"), ("tenant_id", b"default"), ("priority", b"NORMAL")]]
    assert made.addresses[0].topic == "lighting.status.raw"


def test_what_a_device_says_beside_the_payload_becomes_headers_but_not_those_that_say_whose_it_is():
    _, made = one(Post("lights/l-1/status", b"{}", headers={"firmware": "2.1", "tenant_id": "roads"}))
    assert ("firmware", b"2.1") in made.headers[0]
    assert ("tenant_id", b"roads") not in made.headers[0]


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [(b"\xff\x00", ""), (b"{", ""), (b"{}", "image/png"), (b"\x00\x00\x00\x00\x09x", "application/avro"), (b"x", "application/protobuf")],
)
def test_what_cannot_be_decoded_goes_on_in_hexadecimal(payload, content_type):
    row, made = one(Post("lights/l-1/status", payload, content_type=content_type))
    assert (row["data"], row["data_type"]) == (payload.hex(), "raw")
    assert made.addresses[0].topic == "lighting.status.raw"


@pytest.mark.parametrize(
    "message",
    [
        Post("lamps/l-1/state", b'{"on":true,"power_w":4.5}'),
        Post("lamps/l-1/state", message_type(LAMP)(on=True, power_w=4.5).SerializeToString(), content_type="application/x-protobuf; v=1"),
        Post("lamps/l-1/state", wire.encode(LAMP, 9, pl.DataFrame({"on": [True], "power_w": [4.5]}))[0], content_type="application/avro"),
    ],
    ids=["JSON", "Protobuf", "Avro"],
)
def test_the_formats_say_the_same(message):
    row, _ = one(message, Row(pattern="lamps/+/state", topic="t", data_type="lighting", record=LAMP.text), writers={9: LAMP})
    assert (orjson.loads(row["data"]), row["data_type"]) == ({"on": True, "power_w": 4.5}, "lighting")


def test_a_binary_payload_is_read_by_its_layout():
    row, _ = one(
        Post("bins/b-1/level", b"\x50\x0c\xe4"), Row(pattern="bins/+/level", topic="t", data_type="waste", layout="level:u1 mv:>u2")
    )
    assert orjson.loads(row["data"]) == {"level": 80, "mv": 3300}


@pytest.mark.parametrize(
    ("device", "sender", "tenant", "topic"),
    [
        ("l-1", Sender(), "default", "lighting.status.raw"),
        ("parks_l_1", Sender(), "parks", "parks.lighting.status.raw"),
        ("parks_l_1", Sender("roads", "parks_l_1"), "roads", "roads.lighting.status.raw"),
        ("strange_l_1", Sender(), "default", "lighting.status.raw"),
    ],
)
def test_a_message_belongs_to_whom_its_sender_proved_or_its_device_is_named_after(device, sender, tenant, topic):
    row, made = one(Post(f"lights/{device}/status", b"{}"), sender=sender)
    assert (row["tenant_id"], made.addresses[0].topic) == (tenant, topic)


def test_a_message_without_a_number_has_a_name_that_no_other_has():
    where = place()
    messages = [Post("lights/l-1/status", b"{}")] * 3
    made = [envelop([Delivery(messages, Source.HTTP, Sender(), 1)], where, ID, 1) for _ in range(2)]
    assert len({row["message_id"] for each in made for row in written(each)}) == 6


def test_the_same_again_has_the_same_mark_and_a_device_that_started_anew_another():
    first, again = Post("lights/l-1/status", b'{"sequence":1,"on":true}'), Post("lights/l-1/status", b'{"sequence":1,"on":true}')
    anew, named = Post("lights/l-1/status", b'{"sequence":1,"on":false}'), Post("lights/l-1/status", b"x", headers={"message_id": "m-1"})
    a, b, c, d, e = envelop([Delivery([first, again, anew, named, named], Source.MQTT, Sender(), 1)], place(), ID, 1).marks
    assert a == b != c
    assert d == e


@pytest.mark.parametrize("number", ["7.0", "7e0", "0.7e1"])
def test_a_sequence_number_is_the_same_with_a_decimal_point_or_an_exponent(number):
    made = envelop([Delivery([Post("lights/l-1/status", f'{{"sequence":{number}}}'.encode())], Source.MQTT, Sender(), 1)], place(), ID, 1)
    assert written(made)[0]["message_id"] == "lights/l-1/status#7@"
    assert None not in made.marks


def test_the_same_from_devices_of_two_tenants_is_not_the_same():
    messages = [Post("lights/l-1/status", b'{"sequence":1}'), Post("lights/l-1/status", b"x", headers={"message_id": "m-1"})]
    where = place()
    of_a, of_b = (envelop([Delivery(messages, Source.HTTP, Sender(tenant, "l-1"), 1)], where, ID, 1).marks for tenant in "ab")
    assert not set(of_a) & set(of_b)


def test_a_message_of_less_quality_of_service_than_agreed_is_counted_and_taken():
    made = envelop([Delivery([Post("manhole/m-1/alarm", b"{}", 1)], Source.MQTT, Sender(), 1)], place(), ID, 1)
    assert (made.misfits, len(made.values)) == (1, 1)


def test_what_is_too_large_or_of_no_device_is_a_reject_and_the_others_go_on():
    messages = [Post("lights/l-1/status", b"x" * PAYLOAD_BYTES), Post("lights//status", b"{}"), Post("lights/l-1/status", b"{}")]
    made = envelop([Delivery(messages, Source.HTTP, Sender(), 1)], place(), ID, 1)
    assert [(reject.row, reject.reason) for reject in made.rejects] == [(0, Reason.TOO_LARGE), (1, Reason.BAD_DEVICE_ID)]
    assert made.rows == [2]


ANYTHING = st.text(st.characters(), max_size=5)  # halves of surrogate pairs, too, which are no text
TOPICS = st.one_of(st.sampled_from(["lights/a/status", "x", "manhole/m/alarm", "//", "spBv1.0/g/NDATA/e"]), ANYTHING)
HEADERS = st.dictionaries(st.sampled_from(["message_id", "firmware"]), ANYTHING)
MESSAGES = st.lists(st.builds(Post, TOPICS, st.binary(max_size=40), st.sampled_from([0, 1, 2]), st.text(max_size=3), HEADERS), max_size=12)


@given(MESSAGES, st.data())
def test_how_messages_are_cut_into_deliveries_changes_nothing(messages, data):
    cut = data.draw(st.integers(0, len(messages)))
    whole = envelop([Delivery(messages, Source.MQTT, Sender(), 1)], place(), ID, 1)
    parts = envelop([Delivery(part, Source.MQTT, Sender(), 1) for part in (messages[:cut], messages[cut:])], place(), ID, 1)
    assert (whole.values, whole.rows, whole.marks, whole.rejects) == (parts.values, parts.rows, parts.marks, parts.rejects)
    assert {*whole.rows, *(reject.row for reject in whole.rejects), *whole.coalesced} == {*range(len(messages))}


@given(MESSAGES)
def test_envelopes_are_written_as_they_are_in_bulk(messages):
    values = envelop([Delivery(messages, Source.MQTT, Sender(), 1)], place(), ID, 1).values
    read = wire.decode(values, ENVELOPE, {ID: ENVELOPE})
    assert (read.frame.height, read.rejects) == (len(values), [])
    assert wire.encode(ENVELOPE, ID, read.frame) == values


DATA = b'{"value": 1}'


def governed(policy=Policy.ACCEPT):
    return Place("gw-1", "run", "city", fleet=Fleet("gw-1", Terms(unknown=policy)))


def take(where, *posts):
    return envelop([Delivery([Post(*post) for post in posts], Source.MQTT, ANYBODY, 1_000)], where, ID, 1_001)


def test_signs_of_life_are_noted_and_make_no_row():
    where = governed()
    made = take(where, ("devices/d/heartbeat", b""), ("sensors/d/air", DATA), ("devices/d/presence", b"online"))
    assert (made.coalesced, made.rows, made.tenants) == ([0, 2], [1], {0: "city", 2: "city"})
    assert len(made.values) == 1
    device = where.fleet.devices["city", "d"]
    assert (device.seen_at, device.source, device.kind) == (1_000, "mqtt", "environment_sensor")


def test_of_what_a_device_says_of_itself_the_last_word_counts_though_all_came_at_once():
    where = governed()
    device = where.fleet.presence("city", "d", "")
    take(where, ("sensors/d/air", DATA), ("devices/d/presence", b"offline"))
    device.fold()
    assert device.offline_at == 1_000
    take(where, ("devices/d/presence", b"offline"), ("sensors/d/air", DATA))
    device.fold()
    assert device.offline_at == 0


@pytest.mark.parametrize(
    ("policy", "topics", "reasons"),
    [
        (Policy.ACCEPT, ["city.env.air.raw"], []),
        (Policy.QUARANTINE, ["city.iot.quarantine"], []),
        (Policy.REJECT, [], [Reason.UNKNOWN_DEVICE] * 2),
    ],
)
def test_what_becomes_of_an_unknown_device_is_the_policy(policy, topics, reasons):
    made = take(governed(policy), ("sensors/d/air", DATA), ("devices/d/heartbeat", b""))
    assert [address.topic for address in made.addresses] == topics
    assert [reject.reason for reject in made.rejects] == reasons
    assert len(made.rows) + len(made.rejects) + len(made.coalesced) == 2


def test_every_message_is_a_row_a_reject_or_coalesced():
    posts = [("devices/d/presence", b"maybe"), ("devices/d/heartbeat", b""), ("sensors/d/air", DATA), ("sensors//air", DATA)]
    made = take(governed(), *posts)
    rejected = [reject.row for reject in made.rejects]
    assert sorted([*rejected, *made.rows, *made.coalesced]) == [*range(len(posts))]
    assert [row["device_id"] for row in written(made)] == ["d"]


@pytest.mark.parametrize("frame", ["0000000000", "0080000000", "00ffffffff"])
def test_no_registry_is_waited_for_about_an_id_that_none_can_have(frame):
    assert awaited(Post("t", bytes.fromhex(frame + "01"), content_type="application/avro"), {}, frozenset()) is None
