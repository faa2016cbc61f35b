import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded.preflight import free_ports


@pytest.fixture
def doctor(stack, tmp_path):
    """Runs the command with settings that differ; gives its exit code, and what it found by what it looked at."""

    def run(**changes):
        settings = stack.settings.model_copy(update={"data": tmp_path, **changes})
        command = [str(Path(sys.executable).with_name("headrace")), "doctor"]
        environment = settings.environment(COLUMNS="250")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        found = re.findall(r"^ ?([✓✗]) +(\w+) +(.*?)(?:  +(.*?))? *$", done.stdout, re.MULTILINE)
        return done.returncode, {name: (mark == "✓", finding, remedy) for mark, name, finding, remedy in found}, done

    return run


def test_a_stack_that_runs_is_well(doctor):
    code, found, done = doctor()
    assert code == 0, done.stdout + done.stderr
    assert {"kafka", "topics", "registry", "schemas", "centre", "mqtt", "clickhouse", "clock", "disk"} == found.keys()
    assert all(well for well, *_ in found.values())


def test_what_is_away_is_named_with_what_to_do_and_the_rest_is_still_looked_at(doctor):
    (port,) = free_ports(1)
    code, found, done = doctor(mqtt=f"mqtt://127.0.0.1:{port}", clickhouse=f"clickhouse://127.0.0.1:{port}/x", kafka=f"127.0.0.1:{port}")
    assert code == 1, done.stdout + done.stderr
    assert {name for name, (well, *_) in found.items() if not well} == {"kafka", "topics", "mqtt", "clickhouse"}
    for name in ("kafka", "mqtt", "clickhouse"):
        assert f"HEADRACE_{name.upper()}" in found[name][2]


def test_the_centre_of_a_plant_is_looked_at_where_one_is_set(doctor, stack):
    ours = stack.settings
    (port,) = free_ports(1)
    assert doctor(centre=ours.kafka, centre_registry=ours.registry)[1]["centre"][0]
    well, finding, remedy = doctor(centre=ours.kafka, centre_registry=f"http://127.0.0.1:{port}")[1]["centre"]
    assert not well
    assert f":{port}" in finding
    assert "HEADRACE_CENTRE_REGISTRY" in remedy


def test_a_folder_that_cannot_be_written_is_said_so(doctor, tmp_path):
    (tmp_path / "file").touch()
    code, found, done = doctor(data=tmp_path / "file")
    assert code == 1, done.stdout + done.stderr
    assert not found["disk"][0]
    assert "HEADRACE_DATA" in found["disk"][2]
