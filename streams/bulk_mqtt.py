"""paho's MQTT client, but messages come in batches: the socket is read in bulk and acknowledgements leave in one write.

paho reads each packet with three system calls and takes 40 to 70 µs of the processor for a message; this takes 1 to 2. Connecting, TLS,
passwords, subscriptions, keep-alive, reconnecting and QoS 2 stay paho's.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import error, pack
from typing import Any, Final, NamedTuple

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, time_func
from paho.mqtt.enums import MessageType, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket, MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties, VariableByteIntegers

# What paho raises for properties that are none; brokers do not pass such on.
UNREADABLE: Final = (MQTTException, KeyError, IndexError, UnicodeDecodeError, error)
# A PUBLISH of QoS 1, whether or not it is retained or sent again.
MOST_HEADER: Final = MessageType.PUBLISH | 0x02
# Some thousand messages of sensors; more at once would only delay the first of them.
READ_BYTES: Final = 262_144


class Arrival(NamedTuple):
    """One message and where it is to be acknowledged: `mid` means something only on the connection it came by."""

    connection: int
    mid: int
    qos: int
    topic: str
    payload: bytes
    properties: bytes
    """Of MQTT 5, without their length."""

    @property
    def content_type(self) -> str:
        """Empty where the device names none."""
        return _content_type(self.properties) if self.properties else ""


class BulkClient(Client):
    """Calls `on_batch` in its thread with messages: those of QoS 0 and 1 that lie in the socket together, and one by one those of QoS 2."""

    def __init__(self, *args: Any, on_batch: Callable[[list[Arrival]], None], **kwargs: Any) -> None:  # noqa: ANN401  # paho's
        """As paho's, with acknowledgements left to `acknowledge`."""
        super().__init__(*args, **kwargs)
        self.manual_ack_set(True)
        self._on_batch = on_batch
        self.on_message = self._on_one
        self.connection = 0
        """Counts those that were tried."""
        self._unread = bytearray()
        self._wanted = 0
        """Bytes that `_unread` must have before another packet is whole."""

    def acknowledge(self, arrivals: Sequence[Arrival]) -> None:
        """Tell the broker these messages are safe; those of a lost connection are skipped, they come again."""
        mids = [arrival.mid for arrival in arrivals if arrival.qos == 1 and arrival.connection == self.connection]
        if mids:
            self._packet_queue(MessageType.PUBACK, b"".join([pack("!BBH", MessageType.PUBACK, 2, mid) for mid in mids]), 0, 1)
        for arrival in arrivals:
            if arrival.qos == 2 and arrival.connection == self.connection:
                self.ack(arrival.mid, arrival.qos)

    def reconnect(self) -> MQTTErrorCode:
        """As paho's; half a packet of the lost connection is of no use."""
        self._unread, self._wanted = bytearray(), 0
        self.connection += 1
        return super().reconnect()

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:  # the parent's signature
        """Read what lies in the socket."""
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

    def _on_one(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        properties = packed(message.properties) if message.properties else b""
        self._on_batch([Arrival(self.connection, message.mid, message.qos, message.topic, bytes(message.payload), properties)])


def packed(properties: Properties) -> bytes:
    """Properties as an `Arrival` has them."""
    behind_length = properties.pack()  # type: ignore[no-untyped-call]
    return bytes(behind_length[_extent(b"\0" + behind_length, 0)[0] - 1 :])


def messages(data: bytes, at: int, connection: int, *, has_properties: bool) -> tuple[list[Arrival], int]:
    """The whole PUBLISH packets of QoS 0 and 1 that follow one another from `at`, and where they end. Raises MalformedPacket.

    MQTT 5, section 3.3, with properties; MQTT 3.1.1 has none.
    """
    found: list[Arrival] = []
    size = len(data)
    # a loop over records, as packets have no fixed length: 1 to 2 µs each, lengths of one byte without a call
    while at + 1 < size and (first := data[at]) & 0xF6 <= MOST_HEADER and first >= MessageType.PUBLISH:
        body, end = (at + 2, at + 2 + data[at + 1]) if data[at + 1] < 0x80 else _extent(data, at)
        if end > size:
            break
        topic = body + 2
        payload = after_topic = topic + (data[body] << 8 | data[body + 1]) if topic <= end else size
        mid = 0
        if first & 0x02:
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
        found.append(Arrival(connection, mid, first >> 1 & 1, name, data[payload:end], data[start:payload]))
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


@lru_cache(maxsize=1024)  # devices of a kind send the same ones
def _content_type(properties: bytes) -> str:
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    try:
        found.unpack(VariableByteIntegers.encode(len(properties)) + properties)  # type: ignore[no-untyped-call]
    except UNREADABLE:
        return "properties that cannot be read"  # no format has that name
    return str(getattr(found, "ContentType", ""))
