"""What a broker retains is no new measurement: how brokers mark it, and that they mark nothing else."""

import asyncio
from uuid import uuid4

import pytest
from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from bench.mosquitto import Mosquitto
from deploy.embedded.artemis import Artemis
from deploy.embedded.preflight import free_ports
from streams.mqtt import connect
from streams.settings import Settings
from streams.subscription import Session
from tests.integration.line import PATIENCE, wait


class Older(Session):
    """At a broker that knows only MQTT 3.1.1."""

    def _dial(self, _protocol):
        super()._dial(MQTTv311)


@pytest.fixture(scope="module", params=[Artemis, Mosquitto])
def url(request, tmp_path_factory):
    (port,) = free_ports(1)
    settings = Settings(mqtt=f"mqtt://127.0.0.1:{port}", data=tmp_path_factory.mktemp("mqtt"))
    service = request.param(settings)
    service.start()
    service.wait()
    yield settings.mqtt
    service.stop()


@pytest.fixture
def device(url):
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    connect(client, url)
    wait(client.is_connected, lambda: "no MQTT connection")
    yield client
    client.disconnect()
    client.loop_stop()


@pytest.fixture(params=[(Session, ""), (Session, "group"), (Older, "")], ids=["5", "5 shared", "3.1.1"])
def session(request, url):
    kind, group = request.param
    name = uuid4().hex
    return lambda: kind(url, name, f"{name}/#", group)


def publish(device, session, word, *, retain=False, qos=1):
    topic = f"{next(iter(session._wanted.values()))[:-1]}{word}"
    device.publish(topic, word, qos=qos, retain=retain).wait_for_publish(PATIENCE)


async def started(make):
    session = make()
    session.start()
    async with asyncio.timeout(PATIENCE):
        while not session.subscribed:  # noqa: ASYNC110, the condition is another thread's
            await asyncio.sleep(0.01)
    return session


async def until(session, last):
    """What came, as word and whether it is a copy, to the last word."""
    found = []
    async with asyncio.timeout(PATIENCE):
        while ("", last) not in [("", word) for word, _ in found]:
            arrivals = await session.arrivals()
            session.acknowledge(arrivals)
            found += [(arrival.payload.decode(), arrival.is_retained) for arrival in arrivals]
    return found


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_what_was_retained_before_is_no_news_at_the_start_nor_after_a_broken_link(device, session, qos):
    publish(device, session(), "old", retain=True, qos=qos)
    here = await started(session)
    publish(device, here, "now", retain=True, qos=qos)
    assert ("old", False) not in (found := await until(here, "now"))
    assert ("now", False) in found
    (client,) = here._clients()
    client._sock.shutdown(2)
    async with asyncio.timeout(PATIENCE):
        while here.subscribed:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        while not here.subscribed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    publish(device, here, "later")
    found = [word for word, is_copy in await until(here, "later") if not is_copy]
    assert [word for word in found if word != "now"] == ["later"]  # which comes again where its answer was cut off
    await here.stop()


async def test_what_was_published_while_the_gateway_was_away_is_news_retained_or_not(device, session):
    here = await started(session)
    await here.stop()
    for number in range(20):
        publish(device, here, f"w{number}", retain=number % 2 == 0)
    again = await started(session)
    publish(device, again, "end")
    found = [word for word, is_copy in await until(again, "end") if not is_copy]
    # Artemis sends what is on its way once more when a shared subscription is made anew
    assert [*dict.fromkeys(found)] == [*(f"w{number}" for number in range(20)), "end"]
    await again.stop()


async def test_a_broker_of_mqtt_5_brings_no_copies(device, url):
    name = uuid4().hex
    for _ in range(2):
        here = await started(lambda: Session(url, name, f"{name}/#", ""))
        publish(device, here, "old", retain=True)
        publish(device, here, "end")
        assert not any(is_copy for _, is_copy in await until(here, "end"))
        await here.stop()
