"""What commands list and show, of topics that a fake tells."""

import json
import warnings

import polars as pl
import pytest
from typer.testing import CliRunner

from agents import rulebook
from agents.domains import DOMAINS
from agents.factory.domain import FACTORY
from agents.gateway.mapping import DEFAULT
from agents.gateway.registration import Registration
from deploy import state_commands
from deploy.cli import app
from deploy.state import StillRunning
from schemas.catalog import DEVICES, RULES
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


@pytest.fixture
def kept(latest, monkeypatch):
    """Applied records are what is there from then on."""

    async def apply(_, contract, domain, rows, **__):
        latest.setdefault(contract.topic, []).extend(written(contract, domain, row) for row in rows)

    monkeypatch.setattr(operators, "apply", apply)
    monkeypatch.setattr(operators, "records", operators.latest)
    return latest


def written(contract, domain, row):
    """The columns a row says, and any value of their type for the others."""
    known = (
        pl.DataFrame(schema=contract.codec.columns).clear(1).fill_null(0).with_columns(pl.col(pl.String).fill_null("")).row(0, named=True)
    )
    return known | {name: value for name, value in row.model_dump(mode="json").items() if name in known} | {"domain": domain}


@pytest.mark.parametrize(
    "words",
    [
        ("rules", "retire", "factory", "above-critical"),
        ("map", "retire", DEFAULT[0].pattern),
        ("sensors", "retire", "factory", "temperature"),
    ],
)
def test_what_is_retired_already_is_said_and_not_done_again(kept, words):
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(app, words)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "is retired already" in again.stderr


def test_a_rule_that_was_applied_is_retired_without_a_word_of_a_library(kept):
    applied = {
        "name": "near-critical",
        "severity": "WARNING",
        "raises": "value > 9",
        "clears": "value < 8",
        "threshold": "9",
        "message": "m",
    }
    kept[RULES.topic] = [written(RULES, "factory", rulebook.Row.model_validate(applied))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = CliRunner().invoke(app, ["rules", "retire", "factory", "near-critical"])
    assert (done.exit_code, done.output) == (0, "retired factory/near-critical\n")
    *_, last = kept[RULES.topic]
    assert (last["name"], last["severity"], last["retired"]) == ("near-critical", "WARNING", True)


def test_a_group_that_is_not_there_is_not_ended(kept):
    found = CliRunner().invoke(app, ["groups", "set", "nosuch"])
    assert (found.exit_code, found.stdout) == (1, "")
    assert "default has no group nosuch" in found.stderr


@pytest.mark.parametrize(
    ("words", "given", "status"),
    [
        (["rules", "columns", "nosuch"], None, 1),
        (["rules", "retire", "nosuch", "x"], None, 1),
        (["sensors", "retire", "nosuch", "x"], None, 1),
        (["state", "forget", "nosuch"], None, 1),
        (["device", "show", "a/b"], None, 1),
        (["device", "retire", ""], None, 1),
        (["map", "test", "x", "{}", "--with", "/dev/null"], None, 1),
        (["send", "factory.readings"], "{", 1),
        (["send", "factory.readings"], "", 1),
        (["device", "list", "--no-such"], None, 2),
        (["device", "list", "--status", "nosuch"], None, 2),
        (["alerts", "list", "--limit", "0"], None, 2),
    ],
)
def test_what_is_said_wrongly_is_told_before_anything_is_asked(monkeypatch, words, given, status):
    for asked in ("streams.operators.latest", "schemas.registry.Registry.register", "deploy.reach.Asked", "httpx.request"):
        monkeypatch.setattr(asked, lambda *_, **__: pytest.fail("asked"))
    found = CliRunner().invoke(app, words, input=given)
    assert (found.exit_code, type(found.exception)) == (status, SystemExit), found.output
    assert found.stderr


def test_state_is_not_forgotten_while_workers_run(monkeypatch):
    def running(*_):
        raise StillRunning("2 workers of factory are running: stop them first.")

    monkeypatch.setattr(state_commands, "asked", lambda: None)
    monkeypatch.setattr(state_commands, "forget_state", running)
    found = CliRunner().invoke(app, ["state", "forget", "factory"])
    assert (found.exit_code, found.output) == (1, "2 workers of factory are running: stop them first.\n")
