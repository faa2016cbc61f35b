"""What has become of a command is told in the words and times of the other commands."""

import pytest
from typer.testing import CliRunner

from deploy import command_commands

ANSWER = {"command": "switch-on", "expires_at": 1_796_011_381_000, "counts": {"QUEUED": 2}, "commands": [], "next": None}


@pytest.mark.parametrize(("parameters", "said"), [({}, "switch-on, until"), ({"brightness": 80}, "switch-on (brightness=80), until")])
def test_a_command_is_shown_with_its_parameters_if_it_has_any(monkeypatch, parameters, said):
    monkeypatch.setattr(command_commands, "ask", lambda *_, **__: ANSWER | {"parameters": parameters})
    told = CliRunner().invoke(command_commands.app, ["show", "ed4f"]).output.splitlines()[0]
    assert told.startswith(said)
    assert told.endswith(": 2 QUEUED")


def test_its_times_are_written_with_their_date_and_zone(monkeypatch):
    monkeypatch.setattr(command_commands, "ask", lambda *_, **__: ANSWER | {"parameters": {}})
    told = CliRunner().invoke(command_commands.app, ["show", "ed4f"]).output.splitlines()[0]
    assert "until 2026-11-30T04:03:01Z: " in told


@pytest.mark.parametrize("words", [["--device", "d", "--parameters", "[]"], ["--device", "d", "--parameters", "{"], []])
def test_what_cannot_be_a_command_is_told_before_a_gateway_is_asked(monkeypatch, words):
    monkeypatch.setattr(command_commands, "ask", lambda *_, **__: pytest.fail("asked"))
    assert CliRunner().invoke(command_commands.app, ["send", "on", *words]).exit_code == 2
