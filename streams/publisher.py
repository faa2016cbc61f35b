"""Publishing over MQTT for asyncio: messages of QoS 1 over a connection of its own, and what is published in answer."""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streams.mqtt import MOST_DELAY_SECONDS, connect, version_probe

logger = logging.getLogger(__name__)

# Messages on their way to the broker at once; paho's default of 20 is a round trip for every 20.
INFLIGHT: Final = 1000


class Publisher:
    """Publishes messages and says when the broker has them; those under way when the link breaks are sent again.

    It hears the answers while it is connected: whoever must not miss one needs a `Session`.
    """

    def __init__(self, url: str, answers: str) -> None:
        """Connect to nothing yet. `answers`: an MQTT topic filter."""
        self._url = url
        self._answers = answers
        self._published: dict[int, asyncio.Future[ReasonCode]] = {}
        self.connected = asyncio.Event()
        """Set while messages and answers can pass."""

    def start(self, heard: Callable[[bytes], None]) -> None:
        """Connect in the background; `heard` is called with every answer, in the running event loop."""
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._client = version_probe(self._dial)
        connect(self._client, self._url)

    async def stop(self) -> None:
        """Disconnect; what the broker has not acknowledged may or may not arrive."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def publish(self, topic: str, payload: bytes, lifetime_seconds: float, qos: int = 1) -> ReasonCode:
        """Send a message and wait until the broker has it, or with QoS 0 until it is sent: its reason code, which may be a refusal.

        With MQTT 5 the broker forgets what the receiver has not fetched within the lifetime.
        """
        properties = None
        if self._client.protocol == MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = max(1, math.ceil(lifetime_seconds))
        sent = self._client.publish(topic, payload, qos=qos, properties=properties)
        # The broker's answer comes to the event loop, which is here: not before the next await.
        published: asyncio.Future[ReasonCode] = self._loop.create_future()
        self._published[sent.mid] = published
        return await published

    def _dial(self, protocol: MQTTProtocolVersion) -> None:
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)
        client.max_inflight_messages_set(INFLIGHT)
        client.reconnect_delay_set(min_delay=1, max_delay=MOST_DELAY_SECONDS)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        connect(client, self._url)

    def _settle(self, mid: int, reason: ReasonCode) -> None:
        published = self._published.pop(mid, None)
        if published is not None and not published.done():
            published.set_result(reason)

    # The callbacks run in paho's thread.

    def _on_connect(self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None) -> None:
        if reason.is_failure:
            logger.error("mqtt_connection_refused reason=%s", reason)
            return
        client.subscribe(self._answers, qos=1)

    def _on_subscribe(self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _: Properties | None) -> None:
        if reasons[0].is_failure:
            logger.error("mqtt_subscription_refused topics=%s reason=%s", self._answers, reasons[0])
        self._loop.call_soon_threadsafe(self.connected.set)

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            logger.warning("mqtt_disconnected reason=%s", reason)
        self._loop.call_soon_threadsafe(self.connected.clear)

    def _on_publish(self, _client: Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties) -> None:
        self._loop.call_soon_threadsafe(self._settle, mid, reason)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._loop.call_soon_threadsafe(self._heard, bytes(message.payload))
