import asyncio
import sys
import time

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.registry import Registry
from schemas.wire import decode
from streams.ingest import Ingest
from streams.mqtt import Session, connect
from streams.producer import DeliveryFailed, Producer

# The gateway as a process of its own, to be killed.
PROCESS = """
import asyncio, sys
from streams.ingest import Ingest
from streams.mqtt import Session
from streams.producer import Producer

async def main(kafka, mqtt, client_id, readings, dead_letters):
    session = Session(mqtt, client_id, f"$share/{client_id}/factory/#")
    ids = {"factory.readings": int(readings), "dead-letters": int(dead_letters)}
    await Ingest(session, Producer(kafka), ids).start()
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def plant(request):
    """A plant of the test's own, and the name of its gateway's session."""
    return request.node.name[5:35]


@pytest.fixture
def schema_ids(stack):
    registry = Registry(stack.settings.registry, stack.settings.data / "schemas")
    return {contract.topic: registry.register(contract) for contract in (READINGS, DEAD_LETTERS)}


@pytest.fixture
async def session(stack, plant):
    session = Session(stack.settings.mqtt, plant, f"$share/{plant}/factory/{plant}/#")
    yield session
    await session.stop()


@pytest.fixture
async def gateway(stack, session, schema_ids):
    producer = Producer(stack.settings.kafka)
    gateway = Ingest(session, producer, schema_ids)
    await gateway.start()
    await until(lambda: session.subscribed)
    yield gateway
    await gateway.stop()
    await producer.close()


@pytest.fixture
def device(stack, plant):
    """A client that publishes; each message it hands to the broker is one the broker acknowledges, over reconnects too."""
    client = Client(CallbackAPIVersion.VERSION2, f"{plant}-device", protocol=MQTTv5)
    client.max_inflight_messages_set(500)
    connect(client, stack.settings.mqtt, clean_start=False)
    yield client
    client.disconnect()
    client.loop_stop()


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110, the condition is another thread's or process's
            await asyncio.sleep(0.02)


def publish(device, plant, numbers, payload=None):
    now = int(time.time() * 1000) - 100_000
    return [
        device.publish(
            f"factory/{plant}/{plant}.press-{n % 7}/temperature", payload or orjson.dumps({"value": 20, "timestamp": now + n}), qos=1
        )
        for n in numbers
    ]


def read(stack, contract, schema_ids):
    """Everything in a topic, decoded."""
    consumer = Consumer({"bootstrap.servers": stack.settings.kafka, "group.id": "test"})
    partitions = [TopicPartition(contract.topic, partition, 0) for partition in range(contract.partitions)]
    expected = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
    consumer.assign(partitions)
    values = []
    while len(values) < expected:
        values += [message.value() for message in consumer.consume(10_000, timeout=0.2)]
    consumer.close()
    return decode(values, contract.codec, {schema_ids[contract.topic]: contract.codec}).frame


def timestamps(stack, schema_ids, plant):
    """Event times of a plant's readings by device, in the order of the topic."""
    frame = read(stack, READINGS, schema_ids)
    frame = frame.filter(frame["device_id"].str.starts_with(f"{plant}."))
    return {device: group["timestamp"].to_list() for (device,), group in frame.group_by("device_id", maintain_order=True)}


async def test_readings_reach_kafka_under_their_device_in_order(stack, gateway, device, plant, schema_ids):
    publish(device, plant, range(700))
    await until(lambda: gateway.produced == 700)
    arrived = timestamps(stack, schema_ids, plant)
    assert set(arrived) == {f"{plant}.press-{n}" for n in range(7)}
    assert all(len(times) == 100 and times == sorted(times) for times in arrived.values())
    assert (gateway.received, gateway.rejected) == (700, 0)


async def test_what_is_no_reading_becomes_a_dead_letter_and_holds_up_nothing(stack, gateway, device, plant, schema_ids):
    undecodable, incompatible, null = "undecodable", "incompatible-schema", "null-field"
    garbage = {b" ": undecodable, b"{": undecodable, b"\xff\x00": undecodable, b"x" * 2_000_000: undecodable}
    garbage |= {b"[]": incompatible, b'{"value": null, "timestamp": 1}': null, b'{"value": 1}': null}
    for payload in garbage:
        publish(device, plant, [0], payload)
    publish(device, plant, range(10))
    await until(lambda: gateway.received == len(garbage) + 10 == gateway.produced + gateway.rejected)
    assert gateway.rejected == len(garbage)
    letters = read(stack, DEAD_LETTERS, schema_ids)
    letters = letters.filter(letters["topic"] == f"factory/{plant}/{plant}.press-0/temperature")
    assert dict(zip(letters["value"], letters["reason"], strict=True)) == {payload[:800_000]: why for payload, why in garbage.items()}
    assert set(zip(letters["partition"], letters["offset"], strict=True)) == {(-1, -1)}


async def test_a_gateway_killed_in_mid_load_and_started_again_loses_nothing(stack, device, plant, schema_ids):
    command = [sys.executable, "-c", PROCESS, stack.settings.kafka, stack.settings.mqtt, plant, *map(str, schema_ids.values())]
    # the session exists before the load, as a broker keeps messages only for sessions it knows
    session = Session(stack.settings.mqtt, plant, f"$share/{plant}/factory/#")
    session.start()
    await until(lambda: session.subscribed)
    await session.stop()
    sent = []
    for start in range(0, 12_000, 3000):
        process = await asyncio.create_subprocess_exec(*command)
        for n in range(start, start + 3000, 100):
            sent += publish(device, plant, range(n, n + 100))
            await asyncio.sleep(0.05)
        process.kill()
        await process.wait()
    process = await asyncio.create_subprocess_exec(*command)
    await until(lambda: all(message.is_published() for message in sent))
    await until(lambda: len({t for times in timestamps(stack, schema_ids, plant).values() for t in times}) == len(sent))
    process.kill()
    await process.wait()


async def test_after_the_mqtt_broker_lost_its_sessions_the_gateway_subscribes_again(stack, gateway, device, plant, session):
    publish(device, plant, range(100))
    await until(lambda: gateway.produced == 100)
    stack.mqtt.kill()
    await until(lambda: not session.subscribed)
    stack.mqtt.start()
    stack.mqtt.wait()
    await until(lambda: session.subscribed)
    publish(device, plant, range(100, 200))
    await until(lambda: gateway.produced >= 200)


async def test_while_kafka_is_down_messages_wait_unacknowledged_and_bounded_and_then_flow(stack, device, plant, schema_ids):
    session = Session(stack.settings.mqtt, plant, f"$share/{plant}/factory/{plant}/#", receive_maximum=50)
    producer = Producer(stack.settings.kafka)
    gateway = Ingest(session, producer, schema_ids)
    await gateway.start()
    await until(lambda: session.subscribed)
    stack.kafka.kill()
    sent = publish(device, plant, range(1000))
    await until(lambda: all(message.is_published() for message in sent))
    await asyncio.sleep(1)
    assert (gateway.produced, gateway.rejected) == (0, 0)
    assert 0 < gateway.received <= 50
    stack.kafka.start()
    await asyncio.to_thread(stack.kafka.wait)
    await until(lambda: gateway.produced == 1000)
    await gateway.stop()
    await producer.close()
    arrived = [time for times in timestamps(stack, schema_ids, plant).values() for time in times]
    assert len(arrived) == len(set(arrived)) == 1000


async def test_two_gateways_share_the_messages(stack, gateway, device, plant, schema_ids):
    producer = Producer(stack.settings.kafka)
    other = Session(stack.settings.mqtt, f"{plant}-2", f"$share/{plant}/factory/{plant}/#")
    second = Ingest(other, producer, schema_ids)
    await second.start()
    await until(lambda: other.subscribed)
    publish(device, plant, range(1000))
    await until(lambda: gateway.produced + second.produced == 1000)
    assert min(gateway.produced, second.produced) > 0
    await second.stop()
    await producer.close()


async def test_a_failed_delivery_crashes_the_gateway_with_nothing_acknowledged(stack, device, plant, schema_ids):
    async def start(producer):
        session = Session(stack.settings.mqtt, plant, f"$share/{plant}/factory/{plant}/#")
        gateway = Ingest(session, producer, schema_ids)
        await gateway.start()
        await until(lambda: session.subscribed)
        return gateway

    nowhere, kafka = Producer("127.0.0.1:9", delivery_seconds=1), Producer(stack.settings.kafka)
    failing = await start(nowhere)
    publish(device, plant, range(10))
    await until(lambda: failing.crashed)
    assert isinstance(failing.crash_reason, DeliveryFailed)
    await failing.stop()
    gateway = await start(kafka)
    await until(lambda: gateway.produced == 10)
    await gateway.stop()
    await asyncio.gather(nowhere.close(), kafka.close())
