"""Connecting to an MQTT broker: MQTT 5, and 3.1.1 where the broker refuses 5."""

import logging
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from streams.settings import settings
from streams.worker.addresses import shown
from streams.worker.loopback import is_loopback

logger = logging.getLogger(__name__)

# Between two attempts to connect; the first is made again after a second.
MOST_DELAY_SECONDS: Final = 5
# MQTT 5, section 3.2.2.2
_UNSUPPORTED_VERSION: Final = 0x84


def connect(client: Client, url: str, **options: Any) -> None:  # noqa: ANN401
    """Start connecting to `mqtt[s]://[user:password@]host[:port]` in the client's own thread, and again whenever the link is lost.

    Raises ValueError, in a sentence, for an address that is none, and for files of TLS that cannot be used.
    """
    address = urlsplit(url)
    if address.scheme not in ("mqtt", "mqtts") or not address.hostname:
        raise ValueError(f"{shown(url)!r} is not mqtt://host:port or mqtts://host:port")
    if address.scheme == "mqtts":
        client.tls_set_context(_tls())
    if address.username is not None:
        if address.scheme == "mqtt" and not is_loopback(address.hostname):
            _warn_of_plain_text(shown(url))
        client.username_pw_set(unquote(address.username), unquote(address.password or ""))
    client.on_socket_open = _send_at_once
    if client.protocol == MQTTv5:
        # A caller that names no session gets a new one each time. By default paho asks to resume the last one when it reconnects;
        # Artemis refuses that to a client without an id.
        options.setdefault("clean_start", True)
    client.connect_async(address.hostname, address.port or (8883 if address.scheme == "mqtts" else 1883), keepalive=30, **options)
    client.loop_start()


def _tls() -> ssl.SSLContext:
    """A context by the settings' authorities, or the machine's, and with the settings' certificate, if there is one."""
    ours = settings()
    try:
        context = ssl.create_default_context(cafile=ours.mqtt_ca or None)
        if ours.mqtt_certificate:
            # a key that asks for a password is refused: nobody is there to type it
            context.load_cert_chain(ours.mqtt_certificate, ours.mqtt_key or None, password="")
    except OSError as error:  # of which SSLError is one
        raise ValueError(
            f"TLS to the MQTT broker: {error}. HEADRACE_MQTT_CA, _CERTIFICATE and _KEY name PEM files, the key without a password."
        ) from error
    return context


@cache
def _warn_of_plain_text(place: str) -> None:
    """Once for each broker, however often it is connected to."""
    logger.warning("mqtt_password_in_plain_text broker=%s: anybody on the way can read it; mqtts:// has TLS", place)


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
