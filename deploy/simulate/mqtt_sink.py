"""Readings as devices send them: JSON, Protobuf or Avro over MQTT, QoS 1, to `factory/<plant>/<device>/<sensor>`; answers to commands.

Simulated machines acknowledge commands and go on: what they measure is settled by the seed, or the truth about it would not be true.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final
from urllib.parse import urlsplit

import orjson
import polars as pl
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from deploy.patience import POLL_SECONDS, Patience
from deploy.simulate.records import render
from schemas import json_wire, protobuf_wire, wire
from schemas.catalog import READINGS
from schemas.rejects import Reason
from streams.mqtt import connect, version_probe

logger = logging.getLogger(__name__)

ON_THEIR_WAY: Final = 10_000  # unacknowledged messages in memory before a send waits
INFLIGHT: Final = 2000  # of them sent to the broker; paho's default of 20 is a round trip for every 20 messages
CONNECT_SECONDS: Final = 5  # to a broker that does not listen
PATIENCE_SECONDS: Final = 180  # with one that listens and says nothing: a busy machine
_NO_SUBSCRIBER: Final = 16  # MQTT 5, table 3-4

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "json": "application/json",
    "protobuf": "application/protobuf",
    "avro": "application/avro",
}
"""By format."""

_ANY_FORMAT: Final[Mapping[str, Reason]] = {
    "truncated": Reason.UNDECODABLE,
    "unknown_sensor": Reason.UNKNOWN_SENSOR,
    "out_of_range": Reason.OUT_OF_RANGE,
    "timestamp_zero": Reason.BAD_TIMESTAMP,
    "timestamp_in_seconds": Reason.BAD_TIMESTAMP,
    "timestamp_ahead": Reason.BAD_TIMESTAMP,
}
REJECTED: Final[Mapping[str, Mapping[str, Reason]]] = {
    # JSON has no NaN: orjson, as JavaScript, writes null
    "json": {**_ANY_FORMAT, "random": Reason.UNDECODABLE, "empty": Reason.UNDECODABLE, "not_finite": Reason.NULL_FIELD},
    "protobuf": {**_ANY_FORMAT, "random": Reason.UNDECODABLE, "empty": Reason.NULL_FIELD, "not_finite": Reason.NOT_FINITE},
    "avro": {**_ANY_FORMAT, "random": Reason.BAD_MAGIC, "empty": Reason.BAD_MAGIC, "not_finite": Reason.NOT_FINITE},
}
"""Garbage over MQTT by format, and what the gateway or the worker rejects it for."""

_SPOIL: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "truncated": lambda payload: payload[:-1],  # by more, Protobuf might still be whole
    "random": lambda payload: b"\x7f" + blake2b(payload).digest(),
    "empty": lambda _: b"",
}


def _content_type(name: str) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = name
    return properties


class NoBroker(Exception):
    """No MQTT broker to publish to, or it refuses."""


class MqttSink:
    """Publishes for the whole fleet over one connection, by which it is commanded, too."""

    def __init__(self, fleet: pl.DataFrame, url: str, schema_id: int) -> None:
        """`url` as the setting `mqtt`; `schema_id`: the registry's id of SensorReading, for machines that write Avro."""
        self._fleet = fleet
        self._url = url
        self._schema_id = schema_id
        self._properties = {name: _content_type(of) for name, of in CONTENT_TYPES.items()}
        self._sent = self._arrived = self._unheard = 0
        self._answers: set[int] = set()
        self._numbers: dict[int, int] = {}
        """Of the records on their way, by packet identifier."""
        self._settled: deque[int] = deque()
        """Packet identifiers that were acknowledged and are still among the numbers."""
        self._connected = asyncio.Event()
        self._fewer = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Connect; raises NoBroker."""
        self._client = version_probe(self._dial)
        connect(self._client, self._url)
        silence, deaf = Patience(PATIENCE_SECONDS), Patience(CONNECT_SECONDS)
        while not self._connected.is_set():
            # refused at once by a port where nobody listens, and later by a busy broker
            if not silence.lasts(None) or not (deaf.lasts(None) or await asyncio.to_thread(self._listens)):
                self._client.loop_stop()
                raise NoBroker(f"no MQTT broker answers at {self._url}: start the local stack with `headrace up`")
            await asyncio.sleep(POLL_SECONDS)
        if self._client.protocol != MQTTv5 and set(self._fleet["format"]) != {"json"}:
            raise NoBroker(f"the MQTT broker at {self._url} speaks 3.1.1, which has no content types: simulate --format json")

    async def send(self, records: pl.DataFrame) -> None:
        """Publish."""
        readings = render(self._fleet, records)
        formats = self._fleet["format"][records["channel"]]
        topics = readings.select(pl.format("factory/{}/{}/{}", "plant", "device_id", "sensor_type")).to_series()
        payloads = self._payloads(formats, readings)
        for row, (topic, name, fault) in enumerate(zip(topics, formats, records["fault"], strict=True)):
            payload = _SPOIL[fault](payloads[row]) if fault in _SPOIL else payloads[row]
            await self._at_most(ON_THEIR_WAY)
            self._forget()
            self._numbers[self._client.publish(topic, payload, qos=1, properties=self._properties[name]).mid] = self._sent
            self._sent += 1

    def _payloads(self, formats: pl.Series, readings: pl.DataFrame) -> dict[int, bytes]:
        """Payload of each row in its format; what the topic says is left out where the format can."""
        payloads: dict[int, bytes] = {}
        for name in formats.unique():
            rows = (formats == name).arg_true()
            of_format = readings[rows].cast({"metadata": pl.Map(pl.String(), pl.String())})
            match name:
                case "json":
                    written = json_wire.encode(of_format.select("value", "timestamp", "location", "metadata"))
                case "protobuf":
                    written = protobuf_wire.encode(READINGS.codec, of_format.with_columns(device_id=None, sensor_type=None, plant=None))
                case _:
                    written = wire.encode(READINGS.codec, self._schema_id, of_format)
            payloads |= dict(zip(rows, written, strict=True))
        return payloads

    async def close(self) -> None:
        """Wait for the broker's acknowledgements; raises NoBroker if none comes for PATIENCE_SECONDS."""
        missing = await Patience(PATIENCE_SECONDS).run_down(lambda: self.pending)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        if missing:
            raise NoBroker(f"the MQTT broker at {self._url} has not acknowledged {missing:,} messages")
        if self._unheard:
            logger.warning("no one subscribed messages=%d hint='start the gateway first'", self._unheard)

    @property
    def pending(self) -> int:
        """Messages the broker has yet to acknowledge."""
        return self._sent - self._arrived

    def unacknowledged(self) -> list[int]:
        """The messages the broker has not acknowledged, counted from 0 in the order they were sent."""
        self._forget()
        return sorted(self._numbers.values())

    def _forget(self) -> None:
        """Packet identifiers are used again: those acknowledged are free before the next is taken."""
        while self._settled:
            self._numbers.pop(self._settled.popleft(), None)

    def _listens(self) -> bool:
        address = urlsplit(self._url)
        try:
            port = address.port or (8883 if address.scheme == "mqtts" else 1883)
            socket.create_connection((address.hostname or "", port), timeout=CONNECT_SECONDS).close()
        except OSError:
            return False
        return True

    async def _at_most(self, messages: int) -> None:
        """Wait until so few are unacknowledged."""
        while self._sent - self._arrived > messages:
            self._fewer.clear()
            if self._sent - self._arrived > messages:
                await self._fewer.wait()

    def _dial(self, protocol: MQTTProtocolVersion) -> None:
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client.max_inflight_messages_set(INFLIGHT)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_message = self._on_command
        connect(client, self._url)

    # The callbacks run in paho's thread.

    def _on_connect(self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None) -> None:
        if not reason.is_failure:
            client.subscribe("factory/+/+/command", qos=1)
            self._loop.call_soon_threadsafe(self._connected.set)

    def _on_command(self, client: Client, _data: object, message: MQTTMessage) -> None:
        answer = {"command_id": orjson.loads(message.payload)["command_id"], "ok": True, "detail": "simulated: acknowledged, not obeyed"}
        self._answers.add(client.publish(f"{message.topic}/ack", orjson.dumps(answer), qos=1).mid)

    def _on_publish(self, _client: Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties) -> None:
        if mid in self._answers:
            self._answers.remove(mid)
            return
        self._settled.append(mid)
        self._arrived += 1
        self._unheard += reason.value == _NO_SUBSCRIBER
        if self._arrived % 100 == 0 or self._arrived == self._sent:
            self._loop.call_soon_threadsafe(self._fewer.set)
