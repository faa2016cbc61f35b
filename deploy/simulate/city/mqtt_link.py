"""Devices that publish over MQTT 3.1.1, QoS 0 to 2, packed here: a client library would take more of the processor than the gateway does.

A broker acknowledges when it has a message itself; the gateway takes it from there.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from struct import pack
from typing import Final
from urllib.parse import SplitResult, urlsplit

from paho.mqtt.enums import MessageType
from paho.mqtt.properties import VariableByteIntegers

from agents.gateway.message import Verdict
from deploy.simulate.city.lanes import RETRY_SECONDS
from deploy.simulate.city.outgoing import Outgoing, Settle, Unreachable

IN_FLIGHT: Final = 200
"""Messages of one connection that the broker has yet to acknowledge."""
CONNECT_SECONDS: Final = 60  # until a broker that listens says so: a busy one
_ANSWER_BYTES: Final = 4
_PUBREL: Final = MessageType.PUBREL | 2


class Link(asyncio.Protocol):
    """One connection, and the messages of the devices that share it, in order; again from the first that was not acknowledged."""

    def __init__(self, name: str, address: SplitResult, settle: Settle) -> None:
        self._name, self._address, self._settle = name, address, settle
        self._waiting: deque[Outgoing] = deque()
        self._open: dict[int, Outgoing] = {}
        """By packet identifier, in the order they were sent."""
        self._mid = 0
        self._unread = b""
        self._transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """What the broker said of the connection, 0 if it took it."""
        self.lost = asyncio.Event()

    async def dial(self) -> None:
        """Connect. Raises OSError."""
        self.answered, self.lost = asyncio.get_running_loop().create_future(), asyncio.Event()
        tls = ssl.create_default_context() if self._address.scheme == "mqtts" else None
        port = self._address.port or (8883 if tls else 1883)
        await asyncio.get_running_loop().create_connection(lambda: self, self._address.hostname or "", port, ssl=tls)
        async with asyncio.timeout(CONNECT_SECONDS):
            if code := await self.answered:
                raise ConnectionRefusedError(f"return code {code}")

    def put(self, message: Outgoing) -> None:
        """Add one behind the others; `flush` sends it."""
        self._waiting.append(message)

    def flush(self) -> None:
        """Send what may be on its way."""
        if self._transport is None or not self.answered.done():
            return
        packets = []
        while self._waiting and len(self._open) < IN_FLIGHT:
            message = self._waiting.popleft()
            mid = self._next() if message.qos else 0
            packets.append(publish(message, mid))
            if mid:
                self._open[mid] = message
            else:
                self._settle(message, Verdict.DELIVERED)
        if packets:
            self._transport.write(b"".join(packets))

    def abort(self) -> None:
        """Lose the connection, without a good-bye."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are: a clean session, no keep-alive."""
        self._transport = transport  # type: ignore[assignment]  # what create_connection makes
        self._unread = b""
        user, password = self._address.username, self._address.password
        flags = 0x02 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
        body = _text("MQTT") + bytes([4, flags, 0, 0]) + b"".join(_text(text) for text in (self._name, user, password) if text is not None)
        transport.write(bytes([MessageType.CONNECT]) + _length(len(body)) + body)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Answers: CONNACK, PUBACK, PUBREC and PUBCOMP are all of four bytes, and nothing else comes to who subscribes to nothing."""
        data = self._unread + data
        whole = len(data) // _ANSWER_BYTES * _ANSWER_BYTES
        self._unread = data[whole:]
        received = []
        for at in range(0, whole, _ANSWER_BYTES):
            kind, mid = data[at] & 0xF0, data[at + 2] << 8 | data[at + 3]
            if kind == MessageType.PUBREC:
                received.append(pack("!BBH", _PUBREL, 2, mid))
            elif kind == MessageType.CONNACK:
                self._accepted(data[at + 3])
            elif message := self._open.pop(mid, None):
                self._settle(message, Verdict.DELIVERED)
        if received and self._transport is not None:
            self._transport.write(b"".join(received))
        self.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """What was not acknowledged goes again, before everything else."""
        self._transport = None
        self._waiting.extendleft(reversed(self._open.values()))
        self._open.clear()
        if not self.answered.done():
            self.answered.set_exception(ConnectionResetError())
        self.lost.set()

    def _accepted(self, code: int) -> None:
        if not self.answered.done():
            self.answered.set_result(code)

    def _next(self) -> int:
        while True:
            self._mid = self._mid % 0xFFFF + 1
            if self._mid not in self._open:
                return self._mid


class Links:
    """The devices that speak MQTT, dealt out to connections."""

    def __init__(self, url: str, connections: int, name: str, settle: Settle, group: asyncio.TaskGroup) -> None:
        """`url` as the setting `mqtt`; the connections are held in `group`."""
        self._url, self._group = url, group
        self._links = [Link(f"{name}-{number}", urlsplit(url), settle) for number in range(connections)]
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Connect the first, the others soon follow. Raises Unreachable."""
        try:
            await self._links[0].dial()
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"no MQTT broker answers at {self._url}: start the local stack with `headrace up`") from error
        self._links[0].flush()
        self._tasks = [self._group.create_task(_held(link, up=link is self._links[0])) for link in self._links]

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Each message by its device's connection."""
        touched = set()
        for message in messages:
            link = self._links[message.device % len(self._links)]
            link.put(message)
            touched.add(link)
        for link in touched:
            link.flush()

    async def reconnect(self) -> None:
        """Break all connections; they come again by themselves."""
        for link in self._links:
            link.abort()

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        for link in self._links:
            link.abort()


async def _held(link: Link, *, up: bool) -> None:
    """Keep a link connected."""
    while True:
        if up:
            await link.lost.wait()
        try:
            await link.dial()
            link.flush()
            up = True
        except (OSError, TimeoutError):
            link.abort()
            up = False
            await asyncio.sleep(RETRY_SECONDS)


def publish(message: Outgoing, mid: int) -> bytes:
    """A PUBLISH (MQTT 3.1.1, section 3.3)."""
    topic = message.topic.encode()
    identifier = mid.to_bytes(2) if message.qos else b""
    length = 2 + len(topic) + len(identifier) + len(message.payload)
    return b"".join(
        (bytes([MessageType.PUBLISH | message.qos << 1]), _length(length), len(topic).to_bytes(2), topic, identifier, message.payload)
    )


def _length(count: int) -> bytes:
    return bytes([count]) if count < 0x80 else bytes(VariableByteIntegers.encode(count))  # type: ignore[no-untyped-call]


def _text(text: str) -> bytes:
    return len(text.encode()).to_bytes(2) + text.encode()
