"""What the page about adding a device type says, followed word by word, does what it says."""

import time
from contextlib import ExitStack, closing

import orjson
import pytest

from agents.limits import NOTICE_MS
from deploy.embedded.stack import LocalStack, on_free_ports
from tests.integration.line import Worker, wait
from tests.integration.walkthrough import Reader

PAGE = "docs/how-to/add-a-device-type.md"


@pytest.fixture(scope="module")
def settings(recorded, tmp_path_factory):
    """Of a stack of the test's own: its workers read everything that is there."""
    with LocalStack(on_free_ports(tmp_path_factory.mktemp("bins"))) as running:
        yield running.settings


@pytest.fixture(scope="module")
def workers(settings, tmp_path_factory):
    """Those that the page has running, by name."""
    folder = tmp_path_factory.mktemp("workers")
    with ExitStack() as running:
        started = {
            name: running.enter_context(Worker(settings, folder, module=f"streams.{name}")) for name in ("gateway", "city", "warehouse")
        }
        started["gateway"].wait_for("mqtt_subscribed")
        started["city"].wait_for("lane_opened")
        started["warehouse"].wait_for("Worker ready")
        yield started


@pytest.fixture(scope="module")
def reader(settings, tmp_path_factory):
    with closing(Reader(settings, tmp_path_factory.mktemp("newcomer") / "headrace")) as reader:
        yield reader


def test_a_device_type_added_by_its_page_is_measured_alerted_on_and_queried(workers, reader):
    said = reader.follow(PAGE, "1. Where its messages go")
    assert "topic:   iot.devices.raw" in said
    assert "applied: bins/+/level" in said
    assert "fill_level" in reader.follow(PAGE, "2. What it measures")
    said = reader.follow(PAGE, "3. Which there are")
    assert said.startswith("registered 3 devices")
    assert said.count("waste_bin") == said.count("unseen") == 3
    time.sleep(NOTICE_MS / 1000)
    publish, show, read, query = reader.steps(PAGE, "4. The first message")
    reader.do(publish)
    wait(lambda: "online" in reader.do(show), lambda: f"{reader.do(show)}\n{workers['gateway'].tail()}")
    assert "1.4.0" in reader.do(show)
    reading, alert = map(orjson.loads, reader.do(read).splitlines())
    assert [reading[name] for name in ("device_id", "sensor_type", "value", "district")] == ["bin-1", "fill_level", 95, "riverside"]
    assert [alert[name] for name in ("device_id", "rule", "status", "value")] == ["bin-1", "above-critical", "RAISED", 95]
    asked = query.text.replace(":6067/", f":{workers['warehouse'].port}/")

    def points():
        return orjson.loads(reader.run(asked)).get("points")

    wait(points, workers["warehouse"].tail, worker=workers["warehouse"])
    assert points()[0]["readings"] == 1
