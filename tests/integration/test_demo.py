"""`headrace demo`, as `make demo FOR=60` runs it, and as a person stops it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.gateway.message import Source
from deploy.embedded import processes
from deploy.embedded.stack import LocalStack, on_free_ports
from tests.integration.line import PATIENCE

HEADRACE = str(Path(sys.executable).with_name("headrace"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return on_free_ports(tmp_path_factory.mktemp("demo"))


def demo(settings, *options, **variables):
    environment = settings.environment(**variables)
    command = [HEADRACE, "demo", *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def count(output, what, column=1):
    """A figure of the summary's table."""
    return int(re.search(rf"{what} +([\d,]+) +([\d,]+)", output)[column].replace(",", ""))


def test_a_demo_for_a_time_shows_everything_and_finds_nothing_wrong(settings):
    process = demo(settings, "--for", "60")
    first, _ = process.communicate(timeout=5 * PATIENCE)
    assert process.returncode == 0, first
    assert "WRONG" not in first
    assert first.splitlines()[-1].startswith("Ended, all well")
    for source in Source:
        assert count(first, f"over {source}") == count(first, f"over {source}", 2) > 0, first
    assert count(first, "different ones") == count(first, "messages in ClickHouse") > 0
    assert re.search(r"of readings: p50 [\d,.]+ m?s", first), first
    assert max(map(len, first.partition("this run, of")[2].partition("stopping the workers")[0].splitlines())) <= 80
    assert not processes.find(settings.data)


def test_a_second_start_keeps_the_data_and_ctrl_c_ends_it_with_its_figures(settings):
    process = demo(settings)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.match(r"[1-9][\d,]* readings, ", line):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, "".join(lines) + rest
    assert count(rest, "different ones") == count(rest, "messages in ClickHouse") > 0
    assert "Ended, all well" in rest
    assert not processes.find(settings.data)


def test_a_tenant_whose_devices_need_credentials_gets_a_city_over_all_protocols_all_the_same(settings):
    with LocalStack(settings):
        subprocess.run([HEADRACE, "device", "token", "lamp-7"], env=settings.environment(), check=True, capture_output=True)
    process = demo(settings, "--for", "10", "--devices", "20", "--city-devices", "40")
    said, _ = process.communicate(timeout=5 * PATIENCE)
    assert process.returncode == 0, said
    assert "has one of its own" in said
    for source in Source:
        assert count(said, f"over {source}") == count(said, f"over {source}", 2) > 0, said
    with LocalStack(settings):
        listed = subprocess.run([HEADRACE, "device", "credentials"], env=settings.environment(), check=True, capture_output=True, text=True)
    assert "lamp-7" in listed.stdout
    assert "headrace-demo" not in listed.stdout


def test_who_stops_it_before_anything_was_sent_is_told_so_and_not_that_something_is_wrong(settings):
    process = demo(settings)
    for line in process.stdout:
        if line.startswith("waiting for"):
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 130, rest
    assert "WRONG" not in rest
    assert rest.splitlines()[-1] == "Stopped before its time: nothing was judged."
    assert not processes.find(settings.data)


def test_a_demo_ends_with_the_reason_when_a_worker_dies(settings):
    process = demo(settings)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("gateway: "):
            break
    running = processes.find(settings.data)
    assert "factory" in running, "".join(lines)
    running["factory"].kill()
    rest, _ = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 1, rest
    assert "factory was killed" in rest
    assert not processes.find(settings.data)
