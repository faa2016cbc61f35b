"""`headrace demo`, as `make demo FOR=60` runs it, and as a person stops it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded import processes
from deploy.embedded.stack import on_free_ports
from tests.integration.line import PATIENCE

HEADRACE = str(Path(sys.executable).with_name("headrace"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return on_free_ports(tmp_path_factory.mktemp("demo"))


def demo(settings, *options):
    # a third of a demo's machines: others of these tests run beside it
    options = ["--devices", "100", "--city-devices", "100", *options]
    environment = settings.environment()
    return subprocess.Popen([HEADRACE, "demo", *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stored(output):
    return int(re.search(r"ClickHouse rows: .*'readings': (\d+)", output)[1])


def test_a_demo_for_a_time_shows_everything_and_finds_nothing_wrong(settings):
    process = demo(settings, "--for", "60")
    first, _ = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, first
    assert "WRONG" not in first
    assert re.search(r"city: [\d,]+ messages, acknowledged \{'coap': \d+, 'http': \d+, 'mqtt': \d+, 'websocket': \d+\}", first), first
    assert not processes.find(settings.data)


def test_a_second_start_keeps_the_data_and_ctrl_c_ends_it_with_its_figures(settings):
    process = demo(settings)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "readings in ClickHouse" in line:
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, "".join(lines) + rest
    of_this_run = int(re.search(r"([\d,]+) readings, .* in this run", rest)[1].replace(",", ""))
    assert stored(rest) > of_this_run > 0
    assert not processes.find(settings.data)


def test_a_demo_ends_with_the_reason_when_a_worker_dies(settings):
    process = demo(settings)
    for line in process.stdout:
        if line.startswith("gateway: "):
            break
    processes.find(settings.data)["factory"].kill()
    rest, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, rest
    assert "factory was killed" in rest
    assert not processes.find(settings.data)
