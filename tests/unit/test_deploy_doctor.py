"""No message of a command shows a password that is in an address."""

import pytest
from typer.testing import CliRunner

from deploy import doctor, mqtt_client
from deploy.checks import centre, clickhouse, clock, mqtt, registry, schemas
from deploy.cli import app
from deploy.embedded.errors import StackError
from deploy.embedded.preflight import free_ports
from deploy.embedded.service import address
from streams.settings import settings
from tests.fakes.registry import registry as fake_registry


@pytest.fixture
def away(monkeypatch, tmp_path):
    """Settings whose addresses have passwords, and where nothing answers."""
    (port,) = free_ports(1)
    place = f"S3CRET@127.0.0.1:{port}"
    urls = {"registry": "http", "centre_registry": "http", "mqtt": "mqtt", "clickhouse": "clickhouse", "desk": "http", "gateway": "http"}
    for name, scheme in urls.items():
        monkeypatch.setattr(settings(), name, f"{scheme}://user:{place}")
    monkeypatch.setattr(settings(), "data", tmp_path)
    monkeypatch.setattr(mqtt_client, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(doctor, "CHECKS", dict.fromkeys((registry, schemas, clock, centre, mqtt, clickhouse), ()))


WORDS = (["doctor"], ["doctor", "--json"], ["alerts", "list"], ["command", "show", "x"], ["publish", "a/b", "1"], ["schemas", "check"])


@pytest.mark.parametrize("words", WORDS)
def test_a_command_whose_servers_are_away_shows_no_password(away, words):
    result = CliRunner().invoke(app, words)
    assert result.exit_code != 0
    assert "127.0.0.1" in result.output
    assert "S3CRET" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_doctor_shows_no_password_of_a_registry_whatever_it_answers(monkeypatch, tmp_path, status):
    monkeypatch.setattr(doctor, "CHECKS", {registry: (), schemas: (), clock: ()})
    with fake_registry() as fake:
        fake.answers["/subjects"] = (status, "[]")
        monkeypatch.setattr(settings(), "registry", fake.url.replace("//", "//svc:S3CRET@"))
        monkeypatch.setattr(settings(), "data", tmp_path)
        result = CliRunner().invoke(app, ["doctor"])
    assert "127.0.0.1" in result.output
    assert "S3CRET" not in result.output


def test_headrace_up_refuses_a_broker_elsewhere_without_its_password(capsys):
    with pytest.raises(StackError) as refused:
        address("mqtt", "mqtt://gw:S3CRET@broker.example:1883")
    assert "S3CRET" not in str(refused.value)
    assert "mqtt://broker.example:1883" in str(refused.value)
