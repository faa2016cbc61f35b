"""Commands that need Kafka, where it is away or answers as a fake does."""

import json
import socket
from functools import partial
from types import SimpleNamespace

import pytest
import typer
from confluent_kafka import KafkaError, KafkaException
from typer.testing import CliRunner

from deploy import reach, tenants, tenants_commands, topics_commands
from deploy.cli import app
from deploy.embedded import commands, processes
from deploy.embedded.preflight import free_ports
from deploy.topics import names
from streams.access import Refused
from streams.producer import DeliveryFailed
from streams.settings import settings

COMMANDS = (
    ["topics"],
    ["topics", "--json"],
    ["tenant", "add", "acme"],
    ["tenant", "gateway"],
    ["rules", "list"],
    ["device", "list"],
    ["state", "forget", "city"],
)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_ends_alike_where_kafka_does_not_answer(words, monkeypatch):
    (port,) = free_ports(1)
    monkeypatch.setattr(settings(), "kafka", f"127.0.0.1:{port}")
    monkeypatch.setattr(reach, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr("streams.reader.TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr("schemas.registry.TIMEOUT_SECONDS", 0.2)
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Is it running? headrace doctor says more." in result.stderr
    assert "KafkaError" not in result.stderr


def test_a_kafka_that_takes_connections_and_does_not_answer_may_ask_who_comes(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(settings(), "kafka", f"127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(reach, "ANSWER_SECONDS", 0.2)
        result = CliRunner().invoke(app, ["topics"])
    assert (result.exit_code, "set HEADRACE_KAFKA_USER" in result.stderr) == (2, True), result.stderr


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._TIMED_OUT])
@pytest.mark.parametrize("what", [KafkaException, partial(DeliveryFailed, "alerts", 1)])
def test_a_topic_that_is_not_there_is_told_with_the_command_that_makes_it_and_is_no_absence_of_kafka(code, what, capsys):
    with pytest.raises(typer.Exit) as ended, reach.reached():
        raise what(KafkaError(code))
    missing = code != KafkaError._TIMED_OUT
    said = capsys.readouterr().err
    assert ended.value.exit_code == (1 if missing else 2)
    assert ("headrace topics makes missing ones" in said, "Is it running?" in said) == (missing, not missing)


@pytest.fixture
def kafka(monkeypatch):
    """One that answers and lets in: `refusal` is what it says otherwise."""
    fake = SimpleNamespace(refusal=None)

    class Asked:
        admin = None

        def __init__(self, _):
            pass

        def cluster(self, _):
            if fake.refusal:
                raise fake.refusal

    monkeypatch.setattr(reach, "Asked", Asked)
    return fake


def test_who_is_refused_is_told_what_to_set(kafka):
    kafka.refusal = Refused("127.0.0.1:1", "mallory", "wrong password")
    for words in (["topics"], ["tenant", "gateway"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert "refuses the user 'mallory': wrong password" in result.stderr
        assert "HEADRACE_KAFKA_PASSWORD" in result.stderr


def test_topics_are_told_as_json_with_those_that_were_made(kafka, monkeypatch):
    monkeypatch.setattr(topics_commands, "ensure_topics", lambda _: ["alerts"])
    found = json.loads(CliRunner().invoke(app, ["topics", "--json"]).stdout)
    assert {each["topic"]: each["partitions"] for each in found} == names("default")
    assert [each["topic"] for each in found if each["made"]] == ["alerts"]


@pytest.mark.parametrize(("known", "password"), [(True, None), (False, "s3cret")])
def test_a_tenant_is_told_as_json_with_its_user(kafka, monkeypatch, known, password):
    monkeypatch.setattr(tenants_commands, "ensure_topics", lambda *_, **__: ["acme.alerts"])
    monkeypatch.setattr(tenants, "allow", lambda *_: None)
    monkeypatch.setattr(tenants, "is_known", lambda *_: known)
    monkeypatch.setattr(tenants, "new_password", lambda *_: "s3cret")
    result = CliRunner().invoke(app, ["tenant", "add", "acme", "--json"])
    assert json.loads(result.stdout) == {"user": "acme", "password": password, "tenant": "acme", "made": ["acme.alerts"]}
    assert json.loads(CliRunner().invoke(app, ["tenant", "gateway", "--json"]).stdout) == {"user": "gateway", "password": password}


def test_what_kafka_does_not_allow_is_told_and_no_tenant(kafka, monkeypatch):
    def refuse(*_, **__):
        raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))

    monkeypatch.setattr(tenants_commands, "ensure_topics", refuse)
    monkeypatch.setattr(topics_commands, "ensure_topics", refuse)
    for words in (["tenant", "add", "acme", "--json"], ["topics", "--json"]):
        result = CliRunner().invoke(app, words)
        assert (result.exit_code, result.stdout) == (1, "")


def test_the_status_of_what_is_stopped_is_told_as_json(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "find", lambda _: {})
    monkeypatch.setattr(commands, "running", lambda _: [])
    monkeypatch.setattr(settings(), "data", tmp_path)
    for name, address in zip(("kafka", "registry", "mqtt"), free_ports(3), strict=True):
        monkeypatch.setattr(settings(), name, f"http://127.0.0.1:{address}")
    result = CliRunner().invoke(app, ["status", "--json"])
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(each["name"], each["state"], each["pid"]) for each in told["services"]] == [
        (name, "stopped", None) for name in ("kafka", "registry", "mqtt")
    ]
    assert (told["data"], told["workers"]) == (str(tmp_path), [])
