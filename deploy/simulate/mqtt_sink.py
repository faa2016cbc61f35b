"""Readings as devices send them: JSON over MQTT, QoS 1, to `factory/<plant>/<device>/<sensor>`."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

import orjson
import polars as pl
from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from deploy.simulate.records import render
from schemas.rejects import Reason
from streams.mqtt import connect, version_probe

logger = logging.getLogger(__name__)

ON_THEIR_WAY: Final = 10_000  # unacknowledged messages in memory before a send waits
INFLIGHT: Final = 2000  # of them sent to the broker; paho's default of 20 is a round trip for every 20 messages
CONNECT_SECONDS: Final = 5
PATIENCE_SECONDS: Final = 30
_NO_SUBSCRIBER: Final = 16  # MQTT 5, table 3-4

REJECTED: Final[Mapping[str, Reason]] = {
    "truncated": Reason.UNDECODABLE,
    "random": Reason.UNDECODABLE,
    "empty": Reason.UNDECODABLE,
    "not_finite": Reason.NULL_FIELD,  # JSON has no NaN: orjson, as JavaScript, writes null
    "unknown_sensor": Reason.UNKNOWN_SENSOR,
    "out_of_range": Reason.OUT_OF_RANGE,
    "timestamp_zero": Reason.BAD_TIMESTAMP,
    "timestamp_in_seconds": Reason.BAD_TIMESTAMP,
    "timestamp_ahead": Reason.BAD_TIMESTAMP,
}
"""Garbage over MQTT, and what the gateway or the worker rejects it for."""

_SPOIL: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "truncated": lambda payload: payload[: len(payload) // 2],
    "random": lambda payload: b"\x7f" + blake2b(payload).digest(),
    "empty": lambda _: b"",
}


class NoBroker(Exception):
    """No MQTT broker to publish to, or it refuses."""


class MqttSink:
    """Publishes for the whole fleet over one connection."""

    def __init__(self, fleet: pl.DataFrame, url: str) -> None:
        """`url` as the setting `mqtt`."""
        self._fleet = fleet
        self._url = url
        self._sent = self._arrived = self._unheard = 0
        self._connected = asyncio.Event()
        self._fewer = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def open(self) -> None:
        """Connect; raises NoBroker."""
        self._client = version_probe(self._dial)
        connect(self._client, self._url)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._connected.wait()
        except TimeoutError as error:
            self._client.loop_stop()
            raise NoBroker(f"no MQTT broker answers at {self._url}: start the local stack with `headrace up`") from error

    async def send(self, records: pl.DataFrame) -> None:
        """Publish."""
        readings = render(self._fleet, records)
        for fault, reading in zip(records["fault"], readings.iter_rows(), strict=True):
            device_id, sensor_type, value, timestamp, location, metadata, plant = reading
            labels = {entry["key"]: entry["value"] for entry in metadata}
            payload = orjson.dumps({"value": value, "timestamp": timestamp, "location": location, "metadata": labels})
            await self._at_most(ON_THEIR_WAY)
            self._client.publish(
                f"factory/{plant}/{device_id}/{sensor_type}", _SPOIL[fault](payload) if fault in _SPOIL else payload, qos=1
            )
            self._sent += 1

    async def close(self) -> None:
        """Wait for the broker's acknowledgements; raises TimeoutError if they do not come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._at_most(0)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)
        if self._unheard:
            logger.warning("no one subscribed messages=%d hint='start the gateway first'", self._unheard)

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
        connect(client, self._url)

    # The callbacks run in paho's thread.

    def _on_connect(self, _client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None) -> None:
        if not reason.is_failure:
            self._loop.call_soon_threadsafe(self._connected.set)

    def _on_publish(self, _client: Client, _data: object, _mid: int, reason: ReasonCode, _properties: Properties) -> None:
        self._arrived += 1
        self._unheard += reason.value == _NO_SUBSCRIBER
        if self._arrived % 100 == 0 or self._arrived == self._sent:
            self._loop.call_soon_threadsafe(self._fewer.set)
