import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.client import MQTTv5, MQTTv311
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

from agents.gateway.readings import map_readings
from bench.mqtt_load import packed
from schemas.rejects import Reason
from streams.bulk_mqtt import Arrival, messages

CONNECTION = 3
PINGRESP = b"\xd0\x00"
QOS_3 = b"\x36\x07\x00\x01t\x00\x09\x00!"


def publish(topic: str, payload: bytes, qos: int = 1, mid: int = 7, properties: bytes | None = None, flags: int = 0) -> bytes:
    """A PUBLISH packet; of MQTT 3.1.1 where there are no properties. `flags`: 1 retained, 8 sent again."""
    name = topic.encode()
    body = len(name).to_bytes(2) + name + (mid.to_bytes(2) if qos else b"")
    body += (VariableByteIntegers.encode(len(properties)) + properties if properties is not None else b"") + payload
    return bytes([0x30 | qos << 1 | flags]) + VariableByteIntegers.encode(len(body)) + body


def found(data: bytes, *, has_properties: bool = True) -> tuple[list[Arrival], int]:
    return messages(data, 0, CONNECTION, has_properties=has_properties)


def with_properties(**values: object) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


LABELS = st.lists(st.tuples(st.text("abé", max_size=3), st.text("abé", max_size=40)), max_size=4)
PACKETS = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80),
    st.binary(max_size=300),
    st.sampled_from([0, 1, 2]),
    st.integers(1, 65_535),
    LABELS,
    st.sampled_from([0, 1, 8, 9]),
)


@given(st.lists(PACKETS, max_size=5), st.booleans())
def test_packets_are_read_as_paho_reads_them(packets, is_version_5):
    data, expected = b"", []
    for topic, payload, qos, mid, labels, flags in packets:
        properties = packed(with_properties(UserProperty=labels) if labels else with_properties()) if is_version_5 else None
        packet = publish(topic, payload, qos, mid, properties, flags)
        start = 2 if packet[1] < 0x80 else 3
        read = _packet.decode_publish(packet[0], packet[start:], MQTTv5 if is_version_5 else MQTTv311)
        expected.append(Arrival(CONNECTION, read.mid, read.qos, read.topic.decode(), read.payload, properties or b"", read.retain))
        data += packet
    assert found(data, has_properties=is_version_5) == (expected, len(data))


@given(st.lists(PACKETS, min_size=1, max_size=5), st.data())
def test_wherever_the_socket_cuts_the_packets_are_the_same(packets, data):
    whole = b"".join(publish(topic, payload, qos, mid, b"", flags) for topic, payload, qos, mid, _, flags in packets)
    cut = data.draw(st.integers(0, len(whole)))
    first, at = found(whole[:cut])
    rest, end = found(whole[at:])
    assert (first + rest, at + end) == found(whole)


def test_packets_of_other_kinds_and_of_no_quality_of_service_are_left_to_paho():
    message = publish("t", b"x", properties=b"")
    assert found(message + PINGRESP + message) == (found(message)[0], len(message))
    assert found(QOS_3) == ([], 0)


def test_a_message_has_the_content_type_its_device_names():
    properties = packed(with_properties(ContentType="application/avro", UserProperty=[("a", "b")]))
    (named, *_), _ = found(publish("t", b"", properties=properties))
    assert named.content_type == "application/avro"
    (silent, *_), _ = found(publish("t", b"", properties=b""))
    assert silent.content_type == ""


@given(st.lists(st.sampled_from([0, 1, 2, 3, 8, 9, 11, 35, 38, 97, 195, 255]), min_size=1, max_size=30))
def test_no_properties_keep_a_message_from_being_read(raw):
    ((found_one,), _) = found(publish("t", b"x", properties=bytes(raw)))
    assert isinstance(found_one.content_type, str)


def test_a_message_with_unreadable_properties_is_of_no_known_format():
    (rejected,) = map_readings([Arrival(1, 1, 1, "factory/p/d/s", b"{}", b"\xff")], {}).rejects
    assert rejected.reason == Reason.UNKNOWN_FORMAT


@pytest.mark.parametrize(
    "packet",
    [
        b"\x32\x00",
        b"\x32\x01\x00",
        b"\x32\x03\x00\x09t",  # a topic that is longer than the packet
        b"\x32\x04\x00\x01t\x00",  # half an id
        b"\x32\x05\x00\x01t\x00\x07",  # no length of the properties
        b"\x32\x06\x00\x01t\x00\x07\x09",  # properties beyond the packet
        b"\x32\xff\xff\xff\xff\x01",  # a length of five bytes
    ],
)
def test_a_malformed_packet_is_told(packet):
    with pytest.raises(MalformedPacket):
        found(packet + b"\0" * 9)
