"""Connecting to an MQTT broker: MQTT 5, and 3.1.1 where the broker refuses 5."""

import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streams.worker.addresses import shown

# Between two attempts to connect; the first is made again after a second.
MOST_DELAY_SECONDS: Final = 5
# MQTT 5, section 3.2.2.2
_UNSUPPORTED_VERSION: Final = 0x84


def connect(client: Client, url: str, **options: Any) -> None:  # noqa: ANN401
    """Start connecting to `mqtt[s]://[user:password@]host[:port]` in the client's own thread, and again whenever the link is lost."""
    address = urlsplit(url)
    if address.scheme not in ("mqtt", "mqtts") or not address.hostname:
        raise ValueError(f"{shown(url)!r} is not mqtt://host:port or mqtts://host:port")
    if address.scheme == "mqtts":
        client.tls_set()
    if address.username is not None:
        client.username_pw_set(unquote(address.username), unquote(address.password or ""))
    client.on_socket_open = _send_at_once
    if client.protocol == MQTTv5:
        # A caller that names no session gets a new one each time. By default paho asks to resume the last one when it reconnects;
        # Artemis refuses that to a client without an id.
        options.setdefault("clean_start", True)
    client.connect_async(address.hostname, address.port or (8883 if address.scheme == "mqtts" else 1883), keepalive=30, **options)
    client.loop_start()


def _send_at_once(_client: Client, _data: object, sock: Any) -> None:  # noqa: ANN401  # a socket or what TLS makes of it
    """A command must not wait 40 ms for the broker's kernel to confirm an acknowledgement that was sent before it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def version_probe(dial: Callable[[MQTTProtocolVersion], None]) -> Client:
    """A client to `connect` first: when the broker answers it is done, and calls `dial` with MQTT 5, or 3.1.1 if 5 was refused.

    It says nothing but its version: a broker of MQTT 3.1.1 may take the properties of MQTT 5 for a name that has not yet come in full.
    """

    def on_connect(client: Client, _userdata: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None) -> None:
        client.disconnect()
        client.loop_stop()
        # refused for another reason: the connection proper will say so
        dial(MQTTv311 if reason.value == _UNSUPPORTED_VERSION else MQTTv5)

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.reconnect_delay_set(min_delay=1, max_delay=MOST_DELAY_SECONDS)
    client.on_connect = on_connect
    return client
