"""paho's MQTT client, but messages come in batches: the socket is read in bulk and acknowledgements leave in one write.

paho reads each packet with three system calls and takes 40 to 70 µs of the processor for a message; this takes 1 to 2. Connecting, TLS,
passwords, subscriptions, keep-alive and reconnecting stay paho's.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import count
from struct import error, pack
from time import sleep
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from paho.mqtt import _packet
from paho.mqtt.client import Client, MQTTv5, time_func
from paho.mqtt.enums import MessageType, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket, MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

# What paho raises for properties that are none; brokers do not pass such on.
UNREADABLE: Final = (MQTTException, KeyError, IndexError, UnicodeDecodeError, error)
PAUSE_SECONDS: Final = 0.002
_RETAIN_BIT: Final = 0x01
_QOS_BITS: Final = 0x06
"""Of a PUBLISH packet's first byte; both set are of no quality of service."""
_ANSWERS: Final = {1: MessageType.PUBACK, 2: MessageType.PUBREC}
"""What says that a message is safe, by quality of service. A broker does not send one again for which it has the answer."""
# Some thousand messages of sensors; more at once would only delay the first of them.
READ_BYTES: Final = 262_144
_CONNECTIONS: Final = count(1)
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Arrival(NamedTuple):
    """One message and where it is to be acknowledged: `mid` means something only on the connection it came by."""

    connection: int
    mid: int
    qos: int
    topic: str
    payload: bytes
    properties: bytes
    """Of MQTT 5, without their length."""
    is_retained: bool = False
    """Whether the broker kept it for whoever subscribes, and this is a copy: MQTT 5, section 3.3.1.3."""

    @property
    def content_type(self) -> str:
        """Empty where the device names none."""
        return _content_type(self.properties) if self.properties else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """MQTT 5's user properties; of one that is there twice, the last."""
        return _user_properties(self.properties) if self.properties else _NONE


class BulkClient(Client):
    """Calls `on_batch` in its thread with the messages that lie in the socket together.

    paho answers a message of QoS 2 before anybody has seen it, and a crash then loses it; here its PUBREC is the caller's to send, too.
    """

    def __init__(self, *args: Any, on_batch: Callable[[list[Arrival]], None], most_open: int, **kwargs: Any) -> None:  # noqa: ANN401  # paho's
        """As paho's, with acknowledgements left to `acknowledge`; nothing is read while more than `most_open` messages wait for theirs."""
        super().__init__(*args, **kwargs)
        self.manual_ack_set(True)
        self._on_batch = on_batch
        self.connection = 0
        """Of all that were tried by any client of the process, this one's last."""
        self._unread = bytearray()
        self._most_open = most_open
        self._received = self._answered = 0
        self._wanted = 0
        """Bytes that `_unread` must have before another packet is whole."""

    @property
    def open(self) -> int:
        """Messages that wait to be acknowledged."""
        return self._received - self._answered

    def acknowledge(self, arrivals: Sequence[Arrival]) -> None:
        """Tell the broker these messages are safe; those of a lost connection are skipped, they come again."""
        answers = [
            pack("!BBH", _ANSWERS[arrival.qos], 2, arrival.mid)
            for arrival in arrivals
            if arrival.qos and arrival.connection == self.connection
        ]
        self._answered += len(answers)
        if answers:
            self._packet_queue(MessageType.PUBACK, b"".join(answers), 0, 1)

    def reconnect(self) -> MQTTErrorCode:
        """As paho's; half a packet of the lost connection is of no use."""
        self._unread, self._wanted = bytearray(), 0
        self.connection = next(_CONNECTIONS)
        self._received = self._answered
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # the parent's signature
        """Read what lies in the socket. Mosquitto 2.0.11 pours out what a session missed, whatever its receive maximum."""
        if self.open > self._most_open:
            sleep(PAUSE_SECONDS)
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            read = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        if not read:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        with self._msgtime_mutex:
            self._last_bytes_received = time_func()
        self._unread += read
        if len(self._unread) < self._wanted:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        try:
            code = self._take_packets()
        except MalformedPacket:
            code = MQTTErrorCode.MQTT_ERR_PROTOCOL
        return self._loop_rc_handle(code) if code > 0 else code

    def _take_packets(self) -> MQTTErrorCode:
        """Take all that is whole of what was read: messages in batches, and other packets paho's way, each in its turn."""
        data, at, sock = bytes(self._unread), 0, self._sock
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        while True:
            batch, at = messages(data, at, self.connection, has_properties=self._protocol == MQTTv5)
            if batch:
                self._received += sum(arrival.qos > 0 for arrival in batch)
                self._on_batch(batch)
            start, end = _extent(data, at)
            if end > len(data) or code > 0 or self._sock is not sock:
                break
            self._in_packet |= {"command": data[at], "packet": bytearray(data[start:end]), "remaining_length": end - start, "pos": 0}
            code = self._packet_handle()
            at = end
        if self._sock is sock:
            self._unread, self._wanted = bytearray(data[at:]), end - at
        return code

    def _handle_pubrel(self) -> MQTTErrorCode:
        """What a PUBREL is of was safe before the PUBREC went out."""
        released = _packet.decode_pubrel(self._in_packet["command"], self._in_packet["packet"], self._protocol)
        return self._send_pubcomp(released.mid)


def messages(data: bytes, at: int, connection: int, *, has_properties: bool) -> tuple[list[Arrival], int]:
    """The whole PUBLISH packets that follow one another from `at`, and where they end. Raises MalformedPacket.

    MQTT 5, section 3.3, with properties; MQTT 3.1.1 has none.
    """
    found: list[Arrival] = []
    size = len(data)
    # a loop over records, as packets have no fixed length: 1 to 2 µs each, lengths of one byte without a call
    while at + 1 < size and (first := data[at]) & 0xF0 == MessageType.PUBLISH and (qos := first & _QOS_BITS) != _QOS_BITS:
        body, end = (at + 2, at + 2 + data[at + 1]) if data[at + 1] < 0x80 else _extent(data, at)
        if end > size:
            break
        topic = body + 2
        payload = after_topic = topic + (data[body] << 8 | data[body + 1]) if topic <= end else size
        mid = 0
        if qos:
            payload += 2
            mid = data[payload - 2] << 8 | data[payload - 1] if payload <= end else 0
        start = payload
        if has_properties and payload < end:
            start, payload = (payload + 1, payload + 1 + data[payload]) if data[payload] < 0x80 else _extent(data, payload - 1)
        elif has_properties:
            payload = size + 1
        if payload > end:
            raise MalformedPacket("a PUBLISH ends before its payload begins")
        name = data[topic:after_topic].decode("utf-8", "replace")
        found.append(Arrival(connection, mid, qos >> 1, name, data[payload:end], data[start:payload], bool(first & _RETAIN_BIT)))
        at = end
    return found, at


def _extent(data: bytes, at: int) -> tuple[int, int]:
    """Where what a length stands before begins and ends, the length (MQTT 5, section 1.5.5) behind one byte from `at`.

    Of a length that is not whole: an end beyond the data. Raises MalformedPacket.
    """
    length, shift = 0, 0
    for number in range(at + 1, at + 5):
        if number >= len(data):
            return number, len(data) + 1
        length |= (data[number] & 0x7F) << shift
        if data[number] < 0x80:
            return number + 1, number + 1 + length
        shift += 7
    raise MalformedPacket("a length has five bytes")


def _read(properties: bytes) -> Properties | None:
    """None for what is unreadable."""
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    try:
        found.unpack(VariableByteIntegers.encode(len(properties)) + properties)  # type: ignore[no-untyped-call]
    except UNREADABLE:
        return None
    return found


@lru_cache(maxsize=1024)  # devices of a kind send the same ones
def _content_type(properties: bytes) -> str:
    found = _read(properties)
    return "properties that cannot be read" if found is None else str(getattr(found, "ContentType", ""))  # no format has that name


@lru_cache(maxsize=1024)
def _user_properties(properties: bytes) -> Mapping[str, str]:
    return MappingProxyType(dict(getattr(_read(properties), "UserProperty", ())))
