"""What commands list and show, of topics that a fake tells."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from agents.domains import DOMAINS
from agents.factory.domain import FACTORY
from agents.gateway.registration import Registration
from deploy.cli import app
from schemas.catalog import DEVICES
from streams import operators
from streams.operators import device_record


@pytest.fixture
def latest(monkeypatch):
    """Rows by topic; a topic of which nothing is said is empty."""
    rows = {}

    def told(contract):
        return pl.DataFrame(rows.get(contract.topic, []), schema=contract.codec.columns)

    monkeypatch.setattr(operators, "latest", told)
    return rows


def test_rules_are_listed_with_their_condition_those_of_the_code_too(latest):
    found = json.loads(CliRunner().invoke(app, ["rules", "list", "--json"]).stdout)
    raises = {(rule["domain"], rule["name"]): rule["raises"] for rule in found}
    assert raises.keys() == {(name, rule.name) for name, domain in DOMAINS.items() for rule in (*domain.rules, *domain.trend_rules)}
    assert all(raises.values())
    lines = CliRunner().invoke(app, ["rules", "list"]).stdout.splitlines()
    critical = next(line for line in lines if " above-critical " in line and line.startswith("factory"))
    assert "value > critical" in critical.replace('"', "")
    assert FACTORY.rules[0].message not in critical


def test_no_more_devices_are_listed_than_were_asked_for_and_how_many_there_are_is_said(latest):
    latest[DEVICES.topic] = [
        device_record(Registration(device_id=f"d-{number}", tenant_id="default", device_type="x"), "me") for number in range(5)
    ]
    result = CliRunner().invoke(app, ["device", "list", "--limit", "2", "--json"])
    assert [each["device_id"] for each in json.loads(result.stdout)] == ["d-0", "d-1"]
    assert result.stderr == "and 3 more: see --limit\n"


def test_a_payload_that_is_kept_raw_is_told_with_the_place_where_it_is_broken(latest):
    result = CliRunner().invoke(app, ["map", "test", "lights/l-1/status", '{"on": nan}'])
    assert result.exit_code == 0
    assert "not decoded: " in result.stderr
    assert "line 1 column" in result.stderr
    assert '"data_type": "raw"' in result.stdout
