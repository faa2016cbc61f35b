"""What `streams/bulk_mqtt.py` takes for granted of paho's inside. Where one changed, read what it does now before the pin moves."""

import inspect
from hashlib import sha256

import pytest
from paho.mqtt import _packet
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

SOURCES = {
    "loop_read": "4fa11ca2d451dbec",
    "reconnect": "3ecdf1a8299e8c8a",
    "_handle_pubrel": "62a366a76a29d6c7",
    "_packet_handle": "ac4c129ed409db42",
    "_packet_queue": "e298fa9ab31e5f79",
    "_send_pubcomp": "69b29839369fdc7e",
    "_loop_rc_handle": "ee5ad3b7849433a4",
    "_sock_recv": "c3b9043a46dd81b7",
    "_loop": "7372a4c2fc81b7f4",
    "manual_ack_set": "a76529cc084dc511",
}
"""Beginnings of the digests of their source."""


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_overridden_or_used_of_pahos_client_is_what_it_was(name):
    assert digest(getattr(Client, name)) == SOURCES[name], f"paho's Client.{name} has changed"


def test_a_pubrel_is_read_as_it_was():
    assert digest(_packet.decode_pubrel) == "bc503ae2ae5d2b51"


def test_pahos_client_keeps_what_is_read_where_it_did():
    client = Client(CallbackAPIVersion.VERSION2)
    assert {"command", "packet", "remaining_length", "pos"} <= client._in_packet.keys()
    for name in ("_msgtime_mutex", "_last_bytes_received", "_sock", "_protocol"):
        assert hasattr(client, name), f"paho's client has no {name}"


def digest(function):
    return sha256(inspect.getsource(function).encode()).hexdigest()[:16]
