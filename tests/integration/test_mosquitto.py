"""Mosquitto lets in who has a credential, and holds devices to their topics: by the files made of the credentials."""

import getpass
import os
import pwd
import signal
import ssl
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote
from uuid import uuid4

import orjson
import psutil
import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from bench.mosquitto import Mosquitto
from deploy.embedded.preflight import free_ports
from deploy.mosquitto_files import MOSQUITTO
from schemas.catalog import LIGHTS
from tests.conformance.authority import Authority
from tests.integration.line import PATIENCE, Topics, Worker, headrace, http, wait

PASSWORD = "p@ss: wörd/1"
GUARDED = """
password_file {folder}/passwords
acl_file {folder}/acl
listener {tls} 127.0.0.1
cafile {authority}
certfile {certificate}
keyfile {key}
require_certificate true
use_identity_as_username true
"""


class Guarded(Mosquitto):
    """With the lines that `headrace device mosquitto` says, and TLS on another port."""

    def __init__(self, settings, files, authority):
        super().__init__(settings)
        (self.tls,) = free_ports(1)
        certificate, key = authority.issue("broker")
        self.lines = GUARDED.format(folder=files, tls=self.tls, authority=authority.path, certificate=certificate, key=key)

    def command(self):
        line = super().command()
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(configuration.read_text().replace("allow_anonymous true", "allow_anonymous false") + self.lines)
        return line


class AsDebian(Guarded):
    """Started by root, and its own user's from then on."""

    def command(self):
        line = super().command()
        configuration = self.folder / "mosquitto.conf"
        plain = configuration.read_text().partition(f"listener {self.tls}")[0].replace(f"user {getpass.getuser()}", f"user {MOSQUITTO}")
        configuration.write_text(plain.replace("persistence true", "persistence false"))
        return line


def _has_user():
    try:
        pwd.getpwnam(MOSQUITTO)
    except KeyError:
        return False
    return True


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def settings(stack, tmp_path_factory):
    (port,) = free_ports(1)
    url = f"mqtt://gateway:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"
    return stack.settings.model_copy(update={"mqtt": url, "data": tmp_path_factory.mktemp("data")})


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def guarded(settings, files, authority):
    done(settings, "device", "mosquitto", files)
    service = Guarded(settings, files, authority)
    service.start()
    service.wait()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def gateway(settings, guarded, tmp_path_factory):
    with Worker(settings, tmp_path_factory.mktemp("gateway"), module="streams.gateway") as running:
        running.wait_for("mqtt_subscribed")
        yield running


@pytest.fixture
def device():
    return f"m-{uuid4().hex[:12]}"


def done(settings, *words):
    status, said = headrace(settings, *words)
    assert status == 0, said
    return said


def heard(settings, guarded, files):
    """Write the files anew, and have Mosquitto read them."""
    done(settings, "device", "mosquitto", files)
    guarded.process.send_signal(signal.SIGHUP)


@contextmanager
def connected(port, user="", password="", tls=None):
    """A client, and why it was refused, if it was."""
    reasons = []
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    if user:
        client.username_pw_set(user, password)
    if tls:
        client.tls_set_context(tls)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: reasons.append(reason)
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait(lambda: reasons, lambda: "no CONNACK")
    try:
        yield client, str(reasons[0])
    finally:
        client.disconnect()
        client.loop_stop()


def published(client, topic, **data):
    """What the broker says of a message, MQTT 5."""
    said = []
    client.on_publish = lambda _client, _data, _mid, reason, _properties: said.append(reason)
    client.publish(topic, orjson.dumps(data), qos=1)
    wait(lambda: said, lambda: "no PUBACK")
    return said[0]


def in_kafka(settings, *devices):
    topics = Topics(settings)
    try:
        return sorted(device for device in topics.frame(LIGHTS)["device_id"] if device in devices)
    finally:
        topics.close()


NOT_AUTHORIZED = ReasonCode(PacketTypes.PUBACK, "Not authorized")


@pytest.mark.parametrize("kind", ["password", "token", "certificate"])
def test_a_device_with_a_credential_publishes_for_itself_alone(settings, guarded, files, authority, gateway, device, kind):
    port, user, password, tls = guarded.port, "", "", None
    if kind == "password":
        done(settings, "device", "passwd", device, "--password", PASSWORD)
        user, password = f"default/{device}", PASSWORD
    elif kind == "token":
        password, given = done(settings, "device", "token", device).splitlines()
        password, given = (password, given) if ":" not in password else (given, password)
        user = f"default/{device}/{given.partition(': ')[2].partition(',')[0]}"
    else:
        done(settings, "device", "certificate", device, "--subject", f"CN={device}")
        port, tls = guarded.tls, ssl.create_default_context(cafile=authority.path)
        tls.load_cert_chain(*authority.issue(device))
    heard(settings, guarded, files)

    def lets_in():
        with connected(port, user, password, tls) as (_, reason):
            return reason == "Success"

    wait(lets_in, guarded.tail)
    other = f"{device}-other"
    with connected(port, user, password, tls) as (client, _):
        assert not published(client, f"lights/{device}/status", on=True, sequence=1).is_failure
        # behind a refusal of Mosquitto's paho connects anew
        assert published(client, f"lights/{other}/status", on=True, sequence=1) == NOT_AUTHORIZED
    wait(lambda: in_kafka(settings, device, other) == [device], gateway.tail, worker=gateway)
    with connected(port, user, password, tls) as (client, _):
        told = []
        client.on_message = lambda _client, _data, message: told.append(orjson.loads(message.payload)["command"])
        for topic in (f"devices/{device}/command", "devices/+/command", f"lights/{other}/status"):
            client.subscribe(topic, qos=1)
        published(client, f"lights/{device}/status", on=True, sequence=2)  # so that the gateway knows it is there
        ask = {"device": device, "command": "switch-on"}
        commands = f"http://127.0.0.1:{gateway.port}/api/commands"
        asked = http.post(commands, json=ask, timeout=PATIENCE).json()["request_id"]
        wait(lambda: told, lambda: http.get(commands, params={"request_id": asked}).text, worker=gateway)
        assert set(told) == {"switch-on"}


def test_who_has_none_another_password_or_a_revoked_one_does_not_come_in(settings, guarded, files, device):
    done(settings, "device", "passwd", device, "--password", PASSWORD)
    heard(settings, guarded, files)
    user = f"default/{device}"

    def answer(*who):
        with connected(guarded.port, *who) as (_, reason):
            return reason

    wait(lambda: answer(user, PASSWORD) == "Success", guarded.tail)
    assert {answer(), answer(user, "another"), answer("default/nobody", PASSWORD)} == {"Not authorized"}
    done(settings, "device", "revoke", device)
    heard(settings, guarded, files)
    wait(lambda: answer(user, PASSWORD) == "Not authorized", guarded.tail)


@pytest.mark.skipif(os.geteuid() != 0 or not _has_user(), reason="Debian's Mosquitto drops root's rights for its user's")
def test_debians_mosquitto_which_is_not_root_reads_the_files_that_root_wrote(settings, authority, device, tmp_path_factory):
    done(settings, "device", "passwd", device, "--password", PASSWORD)
    (port,) = free_ports(1)
    mqtt = f"mqtt://gateway:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"
    with TemporaryDirectory(dir="/tmp") as folder:  # of whose parents all let it through
        files = Path(folder)
        files.chmod(0o755)
        own = settings.model_copy(update={"mqtt": mqtt, "data": tmp_path_factory.mktemp("data")})
        done(own, "device", "mosquitto", files)
        service = AsDebian(own, files, authority)
        service.start()
        service.wait()
        try:
            assert psutil.Process(service.process.pid).username() == MOSQUITTO
            user = f"default/{device}"
            with connected(port, user, PASSWORD) as (client, reason):
                assert reason == "Success"
                assert not published(client, f"lights/{device}/status", on=True).is_failure
                assert published(client, f"lights/{device}-other/status", on=True) == NOT_AUTHORIZED
            # written anew, and read anew
            done(own, "device", "revoke", device)
            heard(own, service, files)

            def answers(*who):
                with connected(port, *who) as (_, reason):
                    return reason

            wait(lambda: answers(user, PASSWORD) == "Not authorized", service.tail)
            assert answers("gateway", PASSWORD) == "Success"
        finally:
            service.stop()


def test_without_a_user_for_the_gateway_no_files_are_written(stack, tmp_path):
    status, said = headrace(stack.settings, "device", "mosquitto", tmp_path / "files")
    assert status == 1
    assert "mqtt://USER:PASSWORD@HOST" in said
    assert not (tmp_path / "files").exists()
