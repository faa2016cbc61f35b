"""What the tutorial about the first alert says, followed word by word, does what it says."""

from contextlib import ExitStack, closing

import orjson
import pytest

from deploy.embedded.stack import LocalStack, on_free_ports
from tests.integration.line import Worker, is_ready, wait
from tests.integration.walkthrough import Reader

PAGE = "docs/tutorials/first-alert.md"


@pytest.fixture(scope="module")
def settings(recorded, tmp_path_factory):
    """Of a stack of the test's own: its topics have what the page sends, and nothing else."""
    with LocalStack(on_free_ports(tmp_path_factory.mktemp("tutorial"))) as running:
        yield running.settings


@pytest.fixture(scope="module")
def workers(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    with ExitStack() as running:
        started = {
            name: running.enter_context(Worker(settings, folder, module=f"streams.{name}")) for name in ("gateway", "factory", "desk")
        }
        started["gateway"].wait_for("mqtt_subscribed")
        started["factory"].wait_for("Worker ready")
        wait(lambda: is_ready(started["desk"]), started["desk"].tail, worker=started["desk"])
        yield started


@pytest.fixture(scope="module")
def reader(settings, workers, tmp_path_factory):
    with closing(Reader(settings, tmp_path_factory.mktemp("newcomer") / "headrace")) as reader:
        reader.environment["HEADRACE_DESK"] = f"http://127.0.0.1:{workers['desk'].port}"
        yield reader


def statuses(said):
    return [orjson.loads(line)["status"] for line in said.splitlines() if line.startswith("{")]


def test_a_reading_sent_by_hand_raises_an_alert_that_is_acknowledged_and_ends(workers, reader):
    reader.follow(PAGE, "Send a reading")
    (alert,) = map(orjson.loads, reader.follow(PAGE, "See the alert").splitlines())
    assert [alert[name] for name in ("device_id", "subject", "rule", "value", "threshold", "status")] == [
        "press-1",
        "temperature",
        "above-critical",
        151.2,
        150,
        "RAISED",
    ]
    opened, acknowledge, listed = next(reader.steps(PAGE, "Take care of it")).text.splitlines()
    wait(lambda: "press-1" in reader.run(opened), workers["desk"].tail, worker=workers["desk"])
    reader.run(acknowledge)
    wait(lambda: "press-1" in reader.run(listed), workers["desk"].tail, worker=workers["desk"])
    assert statuses(reader.follow(PAGE, "See it end")) == ["RAISED", "CLEARED"]
