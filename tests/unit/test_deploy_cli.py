import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.mqtt_client import NoAnswer, Unwelcome


def run(*words):
    return CliRunner().invoke(app, words)


def test_it_says_which_version_it_is():
    assert run("--version").output == f"headrace {version('headrace')}\n"


@pytest.mark.parametrize("words", [["-h"], ["alerts", "-h"], ["alerts", "list", "-h"], ["topics", "-h"]])
def test_help_is_short_too(words):
    done = run(*words)
    assert (done.exit_code, "Usage" in done.output) == (0, True)


@pytest.mark.parametrize(("words", "meant"), [(["alert", "list"], "alerts"), (["statu"], "status"), (["rules", "lst"], "list")])
def test_a_misspelt_command_is_told_what_may_be_meant(words, meant):
    done = run(*words)
    assert (done.exit_code, f"Did you mean '{meant}'" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["alerts", "acknowledge"], "name one alert"),
        (["command", "send", "on"], "say whom"),
        (["simulate", "factory", "--for", "inf"], "--for: a number is needed, not inf"),
        (["simulate", "city", "--rate", "1e999"], "--rate: a number is needed, not inf"),
        (["demo", "--for", "inf"], "--for: a number is needed, not inf"),
        (["simulate", "factory", "--wear", "1", "nan"], "--wear: a number is needed"),
        (["device", "add", "x", "--type", "y", "--latitude", "nan"], "--latitude: a number is needed"),
        (["groups", "set", "x", "a\udcff"], r"'a\udcff' is not UTF-8"),
        (["alerts", "list", "--device", "\udce9"], r"'\udce9' is not UTF-8"),
        (["nosuch\udcff"], r"'nosuch\udcff' is not UTF-8"),
        (["device", "add"], "say one device's id"),
        (["publish", "a/+", "x"], "a topic to publish to"),
        (["simulate", "factory", "--for", "1", "--count", "1"], "choose one"),
    ],
)
def test_words_that_do_not_go_together_are_told_in_a_sentence(words, said):
    done = run(*words)
    told = " ".join(done.output.replace("│", " ").split())
    assert (done.exit_code, said in told) == (2, True), told
    assert "Invalid value" not in told
    assert "Value error" not in told


@pytest.mark.parametrize("number", ["nan", "inf", "1e300", "-1"])
@pytest.mark.parametrize(
    "words",
    [
        ["alerts", "list", "--minutes"],
        ["alerts", "silence", "--device", "x", "--minutes"],
        ["command", "send", "on", "--device", "x", "--expires"],
        ["read", "alerts", "--minutes"],
    ],
)
def test_a_time_that_no_calendar_has_is_told(words, number):
    done = run(*words, number)
    assert done.exit_code == 2
    assert f"Invalid value for '{words[-1]}': Input should be " in done.output


def test_a_group_that_cannot_be_is_told_in_a_sentence():
    done = run("groups", "set", "x", "a{b}")
    assert done.exit_code == 1
    assert done.output.startswith("devices: 'a{b}' cannot be: a device's id has")


def test_a_name_that_is_not_there_is_told_in_a_sentence():
    done = run("rules", "retire", "factori", "x")
    assert (done.exit_code, done.output) == (1, "no domain factori; there are factory, city, districts\n")


def test_what_the_producer_logs_stays_off_a_command_s_screen():
    code = "import logging; from deploy.cli import headrace; headrace(); logging.getLogger('streams.producer').error('delivery failed')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


HEADRACE = [sys.executable, "-m", "deploy.cli"]


def test_a_full_disk_is_told_in_a_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*HEADRACE, "rules", "columns"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "output: No space left on device\n")


@pytest.mark.parametrize(("refusal", "status"), [(NoAnswer("h does not answer"), 2), (Unwelcome("h refuses: Not authorized"), 1)])
def test_a_broker_that_does_not_answer_is_told_apart_from_one_that_refuses(monkeypatch, refusal, status):
    def connected(_):
        raise refusal

    monkeypatch.setattr("deploy.publish_command.connected", connected)
    done = run("publish", "a/b", "1")
    assert (done.exit_code, done.output.startswith(f"{refusal}: headrace up")) == (status, True), done.output


def test_what_the_system_refuses_is_told_in_a_line(monkeypatch):
    def refused():
        raise PermissionError(13, "Permission denied", "/var/headrace")

    monkeypatch.setattr("deploy.topics_commands.asked", refused)
    done = run("topics")
    assert (done.exit_code, done.output) == (1, "'/var/headrace': Permission denied\n")


def test_rules_are_checked_alike_whatever_the_locale(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(
        "domain: factory\nrules:\n  - {name: hot, severity: INFO, raises: value > 1, clears: value < 1, threshold: 1, message: zu heiß}\n",
        encoding="utf-8",
    )
    latin = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([*HEADRACE, "rules", "check", str(file)], capture_output=True, text=True, check=False, env=latin)
    assert (done.returncode, done.stdout) == (0, "1 rule fits factory\n"), done.stderr


def test_a_closed_standard_input_has_no_records():
    done = subprocess.run(["sh", "-c", f"{' '.join([*HEADRACE, 'send', 'alerts'])} <&-"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "nothing on standard input: no record is sent\n")
