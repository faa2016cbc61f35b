"""What the page about running a city says, followed word by word, does what it says."""

from contextlib import ExitStack, closing

import pytest

from deploy.embedded.preflight import free_ports
from deploy.embedded.stack import LocalStack, on_free_ports
from tests.integration.line import Worker
from tests.integration.walkthrough import Reader

PAGE = "docs/how-to/run-a-city.md"
HTTP = "127.0.0.1:18090"


@pytest.fixture(scope="module")
def settings(recorded, tmp_path_factory):
    """As the page has the gateway started, where nobody else is."""
    ours = on_free_ports(tmp_path_factory.mktemp("city")).model_copy(update={"gateway_http": f"127.0.0.1:{free_ports(1)[0]}"})
    with LocalStack(ours):
        yield ours


@pytest.fixture(scope="module")
def gateway(settings, tmp_path_factory):
    with ExitStack() as running:
        folder = tmp_path_factory.mktemp("workers")
        worker = running.enter_context(Worker(settings, folder, module="streams.gateway"))
        worker.wait_for("mqtt_subscribed")
        yield worker


@pytest.fixture(scope="module")
def reader(settings, gateway, tmp_path_factory):
    with closing(Reader(settings, tmp_path_factory.mktemp("newcomer") / "headrace")) as reader:
        reader.environment["HEADRACE_GATEWAY"] = f"http://127.0.0.1:{gateway.port}"
        yield reader


def follow(settings, reader, heading):
    said = []
    for step in reader.steps(PAGE, heading):
        if step.language:
            step.text = step.text.replace(HTTP, settings.gateway_http)
            said.append(reader.do(step))
    return "".join(said)


def test_the_page_says_where_the_gateway_is_to_listen_before_it_is_posted_to(reader):
    text = (reader.folder / PAGE).read_text()
    assert 0 < text.index(f"HEADRACE_GATEWAY_HTTP={HTTP} make worker g=gateway") < text.index(f"http://{HTTP}/messages")


def test_a_device_gets_its_token_and_posts_with_it(settings, reader):
    assert follow(settings, reader, "HTTP, WebSocket and CoAP").count("delivered") == 2


def test_devices_are_registered_listed_shown_and_retired(settings, reader):
    said = follow(settings, reader, "Devices")
    assert "registered 2 devices" in said
    assert "lamp-9" in said
    assert "street_light" in said


def test_devices_and_groups_are_commanded(settings, reader):
    said = follow(settings, reader, "Commands")
    assert "switch-on" in said
    assert "lamp-8" in said
