"""A subscription for asyncio: a persistent MQTT session whose messages come in batches and are acknowledged when the caller says so."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, cast
from zlib import crc32

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from streams.bulk_mqtt import Arrival, BulkClient
from streams.filters import Filters
from streams.mqtt import MOST_DELAY_SECONDS, connect, version_probe

logger = logging.getLogger(__name__)

# The broker keeps a stopped gateway's messages for as long as Kafka keeps them, a week.
SESSION_SECONDS: Final = 7 * 24 * 3600
SHARED_BY: Final = "gateway"
"""Name of the group of gateways."""
# MQTT 5, section 3.14.2.1
_TAKEN_OVER: Final = 0x8E
# Mosquitto 2.0 takes a session over without a word: so many connections on end, each cut within this time, tell of it too.
BRIEF_CONNECTIONS: Final = 3
BRIEF_SECONDS: Final = 5.0


class Session:
    """Persistent sessions at one broker, one for each topic filter, each shared with those of its group where it has one.

    What nobody acknowledges holds up no other filter's messages. Without a group is safer: Mosquitto 2.0.11 forgets shared subscriptions
    when it restarts, and what devices publish until they are made again.

    What an earlier start subscribed to, and this one does not, is given up, once what is wanted now is subscribed to: so a message may come
    twice, and none is lost. A session that is of no more use is still read from until the gateway stops, and then ended.

    What is not acknowledged when the link or this process breaks is sent again: at least once. The client id names the sessions: it
    stays the same over restarts, and no two processes share one, or they take the sessions from each other again and again.
    Of unacknowledged messages the broker sends at most `receive_maximum` a session. A broker that knows only MQTT 3.1.1 has no groups, so
    there one gateway is to run and not two; how many unacknowledged messages it sends, and whether again, is its own affair.
    """

    def __init__(
        self, url: str, client_id: str, topics: str, group: str, noted: Filters | None = None, *, receive_maximum: int = 2000
    ) -> None:
        """Connect to nothing yet. `topics`: MQTT topic filters, comma-separated; `group`: who shares their messages; empty: nobody does.

        `noted`: what earlier starts subscribed to; None: that there were none.
        """
        self.client_id = client_id
        self._url = url
        self._lock = threading.Lock()
        self._arrived: list[Arrival] = []
        self._ready = asyncio.Event()
        filters = topics.split(",")
        # not by its place among them: a filter that is added or left out takes no other one's session
        names = [client_id if len(filters) == 1 else f"{client_id}-{crc32(each.encode()):08x}" for each in filters]
        self._wanted = dict(zip(names, filters, strict=True))
        self._noted = noted
        self.group, self.receive_maximum = group, receive_maximum
        self._links: list[_Link] = []
        self._retired: list[_Link] = []

    @property
    def subscribed(self) -> bool:
        """Whether messages can come: the gateway is of no use while they cannot."""
        return bool(self._links) and all(link.subscribed for link in self._links)

    def start(self) -> None:
        """Connect in the background; messages go to the running event loop."""
        earlier = self._noted.earlier(self._wanted) if self._noted else {}
        self._links = [_Link(self, name, wish, earlier.get(name, ())) for name, wish in self._wanted.items()]
        self._retired = [_Link(self, name, "", had) for name, had in earlier.items() if name not in self._wanted]
        self._loop = asyncio.get_running_loop()
        self._probe = version_probe(self._dial)
        connect(self._probe, self._url)

    async def stop(self) -> None:
        """Disconnect; the sessions stay at the broker, but those that are given up."""
        self._probe.disconnect()
        ended = [link.client_id for link in (*self._links, *self._retired) if link.leave()]
        for client in (self._probe, *self._clients()):
            await asyncio.to_thread(client.loop_stop)
        if self._noted and ended:
            self._noted.forget(ended)

    async def arrivals(self) -> list[Arrival]:
        """Everything that came since the last call, in order; waits for the first message."""
        await self._ready.wait()
        self._ready.clear()
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return arrived

    def acknowledge(self, arrivals: Sequence[Arrival]) -> None:
        """Tell the broker these messages are safe; those of a lost connection are skipped, they come again."""
        for client in self._clients():
            client.acknowledge(arrivals)

    def pending(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Those of the arrivals that are not sent again: their connection lasts, or they were sent but once."""
        connections = {client.connection for client in self._clients()}
        return [arrival for arrival in arrivals if arrival.qos == 0 or arrival.connection in connections]

    def _clients(self) -> list[BulkClient]:
        return [link.client for link in (*self._links, *self._retired) if link.client]

    # What follows runs in the threads of paho.

    def _dial(self, protocol: MQTTProtocolVersion) -> None:
        for link in self._links:
            link.dial(self._url, protocol)

    def retire(self, protocol: MQTTProtocolVersion) -> None:
        """Give up sessions that are of no more use, once all others can have what those had."""
        with self._lock:
            idle = [link for link in self._retired if link.client is None] if self.subscribed else []
            for link in idle:
                link.dial(self._url, protocol)

    def take(self, arrivals: list[Arrival]) -> None:
        """Have messages for `arrivals`."""
        with self._lock:
            first = not self._arrived
            self._arrived += arrivals
        if first:
            self._loop.call_soon_threadsafe(self._ready.set)

    def forget(self, connection: int) -> None:
        """Leave out what came by a connection that is lost: it is sent again."""
        with self._lock:
            self._arrived = [arrival for arrival in self._arrived if arrival.qos == 0 or arrival.connection != connection]


class _Link:
    """One session, of one topic filter, or of none where it is to be given up. The callbacks run in paho's thread."""

    def __init__(self, session: Session, client_id: str, topics: str, earlier: Sequence[str]) -> None:
        self._session = session
        self.client_id = client_id
        self._topics = topics
        self._earlier = earlier
        self.client: BulkClient | None = None
        self.subscribed = False
        """To what is wanted, and to nothing else."""
        self._connection = 0
        self._connected_at = float("-inf")
        self._brief = 0

    def dial(self, url: str, protocol: MQTTProtocolVersion) -> None:
        v5 = protocol == MQTTv5
        clean_session = None if v5 else False
        self.client = client = BulkClient(
            CallbackAPIVersion.VERSION2,
            self.client_id,
            protocol=protocol,
            clean_session=clean_session,
            on_batch=self._session.take,
            most_open=2 * self._session.receive_maximum,
        )
        client.reconnect_delay_set(min_delay=1, max_delay=MOST_DELAY_SECONDS)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        connect(client, url, **self._lasting() if v5 else {})

    def _lasting(self) -> dict[str, Any]:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.ReceiveMaximum = self._session.receive_maximum
        return {"clean_start": False, "properties": properties}

    def _on_connect(
        self, client: Client, _userdata: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            logger.error("mqtt_connection_refused reason=%s", reason)
            return
        self._session.forget(self._connection)
        self._connection = cast(BulkClient, client).connection
        self._connected_at = time.monotonic()
        if self._topics:
            # 3.1.1 has no say in it, and brings the copies at each connection
            wanted = (
                {"options": SubscribeOptions(2, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)}
                if client.protocol == MQTTv5
                else {"qos": 2}
            )
            client.subscribe(self._forms(client, self._topics)[0], **wanted)
        else:
            self._give_up(client)

    def _forms(self, client: Client, topics: str) -> list[str]:
        """How a filter is subscribed to now, and how it may have been before."""
        if client.protocol != MQTTv5:
            return [topics]
        forms = [topics, f"$share/{self._session.group or SHARED_BY}/{topics}"]
        return forms[::-1] if self._session.group else forms

    def _give_up(self, client: Client) -> None:
        """Unsubscribe from what the session may have from before: messages would come twice, or unwanted ones."""
        before = self._forms(client, self._topics)[1:] if self._topics else []
        before += [form for topics in self._earlier for form in self._forms(client, topics)]
        if before:
            client.unsubscribe(before)
        else:
            self._settled(client)

    def _on_disconnect(
        self, _client: Client, _userdata: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self.subscribed = False
        self._brief = self._brief + 1 if time.monotonic() - self._connected_at < BRIEF_SECONDS else 0
        if reason.value == _TAKEN_OVER or self._brief >= BRIEF_CONNECTIONS:
            logger.error(
                "mqtt_session_taken_over client_id=%s hint='another process uses this client id and they take the session from each "
                "other in turn: give each gateway a HEADRACE_INSTANCE of its own'",
                self.client_id,
            )
        elif reason.is_failure:
            logger.warning("mqtt_disconnected reason=%s", reason)

    def _on_subscribe(
        self, client: Client, _userdata: object, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        (reason,) = reasons
        if reason.is_failure:
            logger.error("mqtt_subscription_refused topics=%s reason=%s", self._topics, reason)
        else:
            self._give_up(client)

    def _on_unsubscribe(
        self, client: Client, _userdata: object, _mid: int, _reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        self._settled(client)

    def _settled(self, client: Client) -> None:
        version = "5" if client.protocol == MQTTv5 else "3.1.1"
        if self._earlier:
            logger.info("mqtt_given_up client_id=%s topics=%s", self.client_id, ",".join(self._earlier))
        if self._topics:
            logger.info("mqtt_subscribed client_id=%s topics=%s version=%s", self.client_id, self._topics, version)
        self.subscribed = True
        self._session.retire(client.protocol)

    def leave(self) -> bool:
        """Disconnect; whether the session is ended by that, as it is given up and nothing more can come by it."""
        if self.client is None:
            return False
        ends = not self._topics and self.subscribed and self.client.protocol == MQTTv5 and not self.client.open
        properties = None
        if ends:
            properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0
        self.client.disconnect(properties=properties)
        return ends
