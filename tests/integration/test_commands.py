import asyncio
import time
from contextlib import closing
from uuid import uuid4

import orjson
import polars as pl
import pytest
from confluent_kafka import Producer as Librdkafka
from confluent_kafka.admin import AdminClient
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

import streams.dispatch
from agents.commands import command_id
from agents.gateway.answers import ANSWERS
from bench.jobs import delete_group
from schemas.catalog import COMMAND_EVENTS, COMMANDS, DEAD_LETTERS
from schemas.registry import Registry
from schemas.wire import encode
from streams.dispatch import Dispatching
from streams.inbox import Inbox
from streams.mqtt import connect
from streams.producer import Producer
from streams.publisher import Publisher
from streams.writers import Writers
from tests.integration.line import PATIENCE, Topics, Worker, http, is_ready, wait
from tests.integration.outlet import Outlet


@pytest.fixture
def plant():
    return f"plant-{uuid4().hex[:12]}"


class Machines:
    """All machines of a plant: they note what they are told, and answer if they are `alive`."""

    def __init__(self, url, plant):
        self.plant, self.alive, self.commands = plant, True, []
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        subscribed = []
        self.client.on_connect = lambda *_: self.client.subscribe(f"factory/{plant}/+/command", qos=1)
        self.client.on_subscribe = lambda *_: subscribed.append(True)
        self.client.on_message = self.hear
        connect(self.client, url)
        wait(lambda: subscribed, lambda: "no MQTT broker")

    def hear(self, _client, _data, message):
        command = orjson.loads(message.payload)
        self.commands.append(command)
        if self.alive:
            self.client.publish(f"{message.topic}/ack", orjson.dumps({"command_id": command["command_id"], "ok": True}), qos=1)

    @property
    def told(self):
        return [command["command_id"] for command in self.commands]

    def publish(self, topic, payload):
        self.client.publish(f"factory/{self.plant}/{topic}", payload, qos=1)


@pytest.fixture
def machines(stack, plant):
    machines = Machines(stack.settings.mqtt, plant)
    yield machines
    machines.client.disconnect()
    machines.client.loop_stop()


@pytest.fixture
def topics(stack):
    with closing(Topics(stack.settings)) as topics:
        yield topics


def command(plant, *, lasts=60.0, word="stop", **changes):
    now = int(time.time() * 1000)
    alert = uuid4().hex
    row = {"command_id": command_id(alert, now, word), "tenant": "default", "domain": "factory", "plant": plant, "device_id": "press-1"}
    row |= {"command": word, "alert_id": alert, "rule": "stop-on-vibration", "issued_at": now, "expires_at": now + int(lasts * 1000)}
    row |= {"parameters": "{}", "request_id": "", "asked_by": ""}
    return row | changes


def issue(settings, *commands):
    """Write commands, and return their ids."""
    schema_id = Registry(settings.registry, settings.data / "test-schemas").register(COMMANDS)
    producer = Librdkafka({"bootstrap.servers": settings.kafka})
    for value in encode(COMMANDS.codec, schema_id, pl.DataFrame(commands, COMMANDS.codec.columns)):
        producer.produce(COMMANDS.topic, value, b"press-1")
    producer.flush()
    return [row["command_id"] for row in commands]


def audit(topics, *ids):
    """What became of commands, of each in the order of its times."""
    events = topics.frame(COMMAND_EVENTS).sort("at", maintain_order=True)
    return [events.filter(command_id=number)["status"].to_list() for number in ids]


@pytest.fixture
async def dispatching(stack, plant, monkeypatch):
    monkeypatch.setattr(streams.dispatch, "ANSWER_SECONDS", 1)
    registry = Registry(stack.settings.registry, stack.settings.data / "test-schemas")
    producer = Producer(stack.settings.kafka)
    ids = {contract.topic: registry.register(contract) for contract in (COMMAND_EVENTS, COMMANDS, DEAD_LETTERS)}
    app = Outlet(producer, ids, Writers(registry))
    service = Dispatching(app, Inbox(stack.settings.kafka, COMMANDS, plant), Publisher(stack.settings.mqtt, ANSWERS))
    await service.start()
    yield service
    await service.stop()
    await producer.close()


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110, the condition is another thread's
            await asyncio.sleep(0.02)


async def test_a_command_is_sent_if_it_has_an_address_and_is_not_too_old_and_that_is_audited(stack, topics, dispatching, machines, plant):
    good, late, lost, odd = issue(
        stack.settings, command(plant), command(plant, lasts=-1), command(""), command(plant, device_id="press/1")
    )
    counts = dispatching.counts
    await until(lambda: min(counts["dispatched"], counts["expired"], counts["unaddressed"] // 2) and not dispatching.inbox.unsettled)
    assert machines.told == [good]
    assert audit(topics, good, late, lost, odd) == [["DISPATCHED"], ["EXPIRED"], ["UNADDRESSED"], ["UNADDRESSED"]]


async def test_a_machine_that_says_nothing_is_told_of(stack, topics, dispatching, machines, plant):
    machines.alive = False
    (silent,) = issue(stack.settings, command(plant))
    await until(lambda: dispatching.counts["unanswered"] and not dispatching.inbox.unsettled)
    assert audit(topics, silent) == [["DISPATCHED", "UNANSWERED"]]


async def test_what_is_no_command_is_a_dead_letter_and_holds_up_nothing(stack, topics, dispatching, machines, plant):
    producer = Librdkafka({"bootstrap.servers": stack.settings.kafka})
    garbage = plant.encode()
    producer.produce(COMMANDS.topic, garbage, b"press-1")
    producer.flush()
    (good,) = issue(stack.settings, command(plant))
    await until(lambda: machines.told == [good] and dispatching.counts["rejected"] and not dispatching.inbox.unsettled)
    letters = topics.frame(DEAD_LETTERS).filter(topic=COMMANDS.topic, value=garbage)
    assert letters["reason"].to_list() == ["bad-magic"]


async def test_while_the_mqtt_broker_is_away_a_command_waits_and_then_goes(stack, topics, dispatching, machines, plant):
    await until(dispatching.publisher.connected.is_set)
    stack.mqtt.kill()
    await until(lambda: not dispatching.publisher.connected.is_set())
    waits, expires = issue(stack.settings, command(plant), command(plant, lasts=0.5))
    await until(lambda: dispatching.counts["expired"])
    stack.mqtt.start()
    await asyncio.to_thread(stack.mqtt.wait)
    await until(lambda: dispatching.counts["dispatched"])
    assert audit(topics, waits, expires)[1] == ["EXPIRED"]


# -- `faust -A streams.gateway worker`


@pytest.fixture
def gateway(stack, tmp_path):
    """Starts gateways as a user does; what still runs when the test ends is killed."""
    delete_group(AdminClient({"bootstrap.servers": stack.settings.kafka}), "gateway")
    workers = []

    def start():
        workers.append(Worker(stack.settings, tmp_path, module="streams.gateway"))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


def test_a_command_outlives_gateways_killed_before_and_after_its_dispatch_under_the_same_id(stack, topics, gateway, machines, plant):
    machines.alive = False
    first = gateway()
    (sent,) = issue(stack.settings, command(plant))
    wait(lambda: machines.told == [sent], first.tail, worker=first)
    first.kill()
    (unsent,) = issue(stack.settings, command(plant))
    machines.alive = True
    second = gateway()
    wait(lambda: machines.told == [sent, sent, unsent], lambda: f"{machines.told}\n{second.tail()}", worker=second)
    wait(lambda: all("ACKNOWLEDGED" in seen for seen in audit(topics, sent, unsent)), second.tail, worker=second)
    assert second.stop() == 0, second.tail()


def test_a_critical_vibration_stops_the_machine_and_its_answer_is_in_the_audit(stack, topics, gateway, machines, plant, tmp_path):
    line, factory = gateway(), Worker(stack.settings, tmp_path)
    with factory:
        wait(lambda: is_ready(line) and is_ready(factory), lambda: line.tail() + factory.tail())
        machines.publish("press-9/vibration", orjson.dumps({"value": 45.5, "timestamp": int(time.time() * 1000)}))
        wait(lambda: machines.told, lambda: line.tail() + factory.tail())
        (told,) = machines.told
        wait(lambda: len(audit(topics, told)[0]) == 2, line.tail)
        machines.publish("press-9/command/ack", b"garbage")
        topic = f"factory/{plant}/press-9/command/ack"
        wait(lambda: topics.frame(DEAD_LETTERS).filter(topic=topic)["reason"].to_list() == ["undecodable"], line.tail)
        metrics = http.get(f"http://127.0.0.1:{line.port}/metrics").text
    assert sorted(audit(topics, told)[0]) == ["ACKNOWLEDGED", "DISPATCHED"]
    assert [(command["command"], command["rule"]) for command in machines.commands] == [("stop", "stop-on-vibration")]
    for outcome in ("dispatched", "acknowledged"):
        assert f'headrace_commands_total{{outcome="{outcome}"}}' in metrics
    assert 'headrace_gateway_messages_total{outcome="own"} 0.0' not in metrics
    # neither its own commands nor the answers became dead letters
    assert topics.frame(DEAD_LETTERS).filter(pl.col("topic").str.contains(plant)).height == 1
