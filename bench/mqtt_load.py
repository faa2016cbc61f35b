"""Devices that cost next to nothing: MQTT 3.1.1 over bare sockets, every packet made beforehand, QoS 1.

A client library would take more of the processor for a message than the gateway does, which is what is to be measured.
"""

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from paho.mqtt.properties import Properties, VariableByteIntegers

CONNECTIONS: Final = 20
IN_FLIGHT: Final = 100
"""Messages of one connection that the broker has yet to acknowledge."""
PUBACK_BYTES: Final = 4
CONNACK: Final = b"\x20\x02\x00\x00"


def _length(body: bytes) -> bytes:
    return bytes(VariableByteIntegers.encode(len(body)))  # type: ignore[no-untyped-call]


def publish(topic: str, payload: bytes, mid: int) -> bytes:
    """A PUBLISH of QoS 1; MQTT 3.1.1, section 3.3."""
    name = topic.encode()
    body = len(name).to_bytes(2) + name + mid.to_bytes(2) + payload
    return b"\x32" + _length(body) + body


def packed(properties: Properties) -> bytes:
    """Properties as a `streams.bulk_mqtt.Arrival` has them: without their length."""
    behind_length = properties.pack()  # type: ignore[no-untyped-call]
    start = next(at for at, byte in enumerate(behind_length) if byte < 0x80) + 1
    return bytes(behind_length[start:])


def dial(url: str, client_id: str, keepalive_seconds: int = 0) -> socket.socket:
    """A connection the broker has accepted, with a clean session. Raises ConnectionError."""
    address, name = urlsplit(url), client_id.encode()
    body = b"\x00\x04MQTT\x04\x02" + keepalive_seconds.to_bytes(2) + len(name).to_bytes(2) + name
    connection = socket.create_connection((address.hostname, address.port or 1883), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"\x10" + _length(body) + body)
    if (answer := connection.recv(4)) != CONNACK:
        raise ConnectionError(f"the MQTT broker answered {answer!r} to CONNECT")
    return connection


@dataclass
class Device:
    """One connection with messages to send, in order."""

    connection: socket.socket
    packets: Sequence[bytes]
    sent: int = 0
    acknowledged_bytes: int = 0
    unsent: bytes = b""
    selectable: int = field(default=selectors.EVENT_READ | selectors.EVENT_WRITE)

    @property
    def acknowledged(self) -> int:
        """Messages the broker has."""
        return self.acknowledged_bytes // PUBACK_BYTES

    def write(self, allowed: int) -> None:
        """Send what is due, up to message number `allowed`, without waiting."""
        end = min(allowed, self.acknowledged + IN_FLIGHT, len(self.packets))
        if end > self.sent:
            self.unsent += b"".join(self.packets[self.sent : end])
            self.sent = end
        if self.unsent:
            try:
                self.unsent = self.unsent[self.connection.send(self.unsent) :]
            except BlockingIOError:
                return

    def read(self) -> None:
        """Count what is acknowledged. Raises ConnectionError."""
        got = self.connection.recv(65_536)
        if not got:
            raise ConnectionError("the MQTT broker hung up")
        self.acknowledged_bytes += len(got)


def send(url: str, packets: Sequence[Sequence[bytes]], start: float, rate: float = 0, name: str = "bench") -> None:
    """Send each connection's packets, from Unix time `start` on and acknowledged all: at `rate` a second, or as fast as they are taken.

    `name`: what the connections are called; two with one name would cut each other off.
    """
    devices = [Device(dial(url, f"{name}-{number}"), own) for number, own in enumerate(packets)]
    readable = selectors.DefaultSelector()
    for device in devices:
        device.connection.setblocking(False)
        readable.register(device.connection, selectors.EVENT_READ, device)
    time.sleep(max(0.0, start - time.time()))
    while any(device.acknowledged < len(device.packets) for device in devices):
        allowed = 1 + int((time.time() - start) * rate / len(devices)) if rate else len(devices[0].packets)
        for device in devices:
            device.write(allowed)
        for key, _ in readable.select(0.005):
            key.data.read()
    for device in devices:
        device.connection.close()
