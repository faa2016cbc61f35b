"""MQTT 5 for asyncio: a persistent session whose messages come in batches and are acknowledged when the caller says so."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

logger = logging.getLogger(__name__)

# The broker keeps a stopped gateway's messages for as long as Kafka keeps them, a week.
SESSION_SECONDS: Final = 7 * 24 * 3600


class Arrival(NamedTuple):
    """One message and where it is to be acknowledged: `mid` means something only on the connection it came by."""

    connection: int
    mid: int
    qos: int
    topic: str
    payload: bytes


def connect(client: Client, url: str, **options: Any) -> None:  # noqa: ANN401
    """Start connecting to `mqtt[s]://[user:password@]host[:port]` in the client's own thread, and again whenever the link is lost."""
    address = urlsplit(url)
    if address.scheme not in ("mqtt", "mqtts") or not address.hostname:
        raise ValueError(f"{url!r} is not mqtt://host:port or mqtts://host:port")
    if address.scheme == "mqtts":
        client.tls_set()
    if address.username is not None:
        client.username_pw_set(address.username, address.password)
    client.connect_async(address.hostname, address.port or (8883 if address.scheme == "mqtts" else 1883), keepalive=30, **options)
    client.loop_start()


class Session:
    """One subscription of one persistent session. Of unacknowledged messages the broker sends at most `receive_maximum`.

    What is not acknowledged when the link or this process breaks is sent again: at least once. The client id names the session: it
    stays the same over restarts, and no two processes share one, or they take the session from each other again and again.
    """

    def __init__(self, url: str, client_id: str, subscription: str, receive_maximum: int = 2000) -> None:
        self._url = url
        self._subscription = subscription
        self._receive_maximum = receive_maximum
        self._lock = threading.Lock()
        self._arrived: list[Arrival] = []
        self._ready = asyncio.Event()
        self._connection = 0
        self.subscribed = False
        """Whether messages can come: the gateway is of no use while they cannot."""
        self._client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5, manual_ack=True)
        self._client.reconnect_delay_set(min_delay=1, max_delay=5)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Connect in the background; messages go to the running event loop."""
        self._loop = asyncio.get_running_loop()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.ReceiveMaximum = self._receive_maximum
        connect(self._client, self._url, clean_start=False, properties=properties)

    async def stop(self) -> None:
        """Disconnect; the session stays at the broker."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def arrivals(self) -> list[Arrival]:
        """Everything that came since the last call, in order; waits for the first message."""
        await self._ready.wait()
        self._ready.clear()
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def acknowledge(self, arrivals: Sequence[Arrival]) -> None:
        """Tell the broker these messages are safe; those of a lost connection are skipped, they come again."""
        for arrival in arrivals:
            if arrival.connection == self._connection:
                self._client.ack(arrival.mid, arrival.qos)

    # The callbacks run in paho's thread.

    def _on_connect(
        self, client: Client, _userdata: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            logger.error("mqtt refused the connection reason=%s", reason)
            return
        with self._lock:
            # unacknowledged messages are sent again on the new connection
            self._arrived = [arrival for arrival in self._arrived if arrival.qos == 0]
            self._connection += 1
        logger.info("mqtt connected subscription=%s", self._subscription)
        client.subscribe(self._subscription, qos=1)

    def _on_disconnect(
        self, client: Client, _userdata: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self.subscribed = False
        logger.warning("mqtt disconnected reason=%s", reason)

    def _on_subscribe(
        self, _client: Client, _userdata: object, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        (reason,) = reasons
        self.subscribed = not reason.is_failure
        if reason.is_failure:
            logger.error("mqtt refused the subscription subscription=%s reason=%s", self._subscription, reason)

    def _on_message(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        arrival = Arrival(self._connection, message.mid, message.qos, message.topic, bytes(message.payload))
        with self._lock:
            first = not self._arrived
            self._arrived.append(arrival)
        if first:
            self._loop.call_soon_threadsafe(self._ready.set)
