"""How clients connect to an MQTT broker: TLS by the settings' files, and a word where a password goes in plain text."""

import logging
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from streams.mqtt import _warn_of_plain_text, connect
from streams.settings import settings
from tests.conformance.authority import Authority

PATIENCE = 20
CONNECT = 0x10


class Offline(Client):
    """Connects nowhere."""

    def connect_async(self, *_, **__):
        """Not at all."""

    def loop_start(self):
        """Not at all."""


@pytest.fixture
def offline():
    _warn_of_plain_text.cache_clear()
    return Offline(CallbackAPIVersion.VERSION2)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.mark.parametrize("host", ["broker.example", "10.0.0.1", "[2001:db8::1]"])
def test_a_password_in_plain_text_over_the_network_is_told_once_and_not_shown(offline, caplog, host):
    for _ in range(3):
        connect(offline, f"mqtt://gw:S3CRET@{host}:1883")
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"broker=mqtt://{host}:1883" in line
    assert "mqtts://" in line
    assert "S3CRET" not in line


@pytest.mark.parametrize(
    "url", ["mqtt://gw:p@127.0.0.1", "mqtt://gw:p@localhost:1", "mqtt://gw:p@[::1]", "mqtt://broker", "mqtts://gw:p@broker"]
)
def test_where_nobody_else_can_read_a_password_nothing_is_said(offline, caplog, url):
    caplog.set_level(logging.WARNING)
    connect(offline, url)
    assert not caplog.records


@pytest.mark.parametrize("own", [True, False])
def test_a_broker_with_a_certificate_of_an_own_authority_is_trusted_by_the_setting_alone(monkeypatch, authority, own):
    if own:
        monkeypatch.setattr(settings(), "mqtt_ca", str(authority.path))
    for field, file in zip(("mqtt_certificate", "mqtt_key"), authority.issue("gateway"), strict=True):
        monkeypatch.setattr(settings(), field, str(file))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.path)
    server.load_cert_chain(*authority.issue("broker"))
    server.verify_mode = ssl.CERT_REQUIRED
    client = Client(CallbackAPIVersion.VERSION2)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        listening.settimeout(PATIENCE)
        came = pool.submit(_first, listening, server)
        connect(client, f"mqtts://127.0.0.1:{listening.getsockname()[1]}")
        try:
            said = came.result(PATIENCE)
        finally:
            client.disconnect()
            client.loop_stop()
    assert said == ((CONNECT, "gateway") if own else None)


def _first(listening, context):
    """The first byte that a client says over TLS, and who it is by its certificate; None if it trusts no such broker."""
    peer, _ = listening.accept()
    with closing(peer):
        peer.settimeout(PATIENCE)
        try:
            with context.wrap_socket(peer, server_side=True) as secured:
                first = secured.recv(1)
                subject = dict(pair for (pair,) in secured.getpeercert()["subject"])
                return first[0], subject["commonName"]
        except (ssl.SSLError, ConnectionError):
            return None


def test_files_that_are_no_pair_are_told_in_a_sentence(monkeypatch, offline, authority):
    certificate, _ = authority.issue("gateway")
    _, key = authority.issue("other")
    monkeypatch.setattr(settings(), "mqtt_certificate", str(certificate))
    monkeypatch.setattr(settings(), "mqtt_key", str(key))
    with pytest.raises(ValueError, match="HEADRACE_MQTT_CA, _CERTIFICATE and _KEY name PEM files"):
        connect(offline, "mqtts://broker")
