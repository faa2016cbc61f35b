import asyncio
import time
from contextlib import contextmanager
from uuid import uuid4

import orjson
import polars as pl
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from bench.mosquitto import Mosquitto
from deploy.embedded.artemis import Artemis
from deploy.embedded.preflight import free_ports
from schemas import protobuf_wire
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.codec import Codec
from schemas.registry import Registry
from schemas.wire import decode, encode
from streams.filters import Filters
from streams.ingest import Ingest
from streams.mqtt import connect, version_probe
from streams.producer import DeliveryFailed, Producer
from streams.subscription import Session
from streams.writers import Writers
from tests.integration.line import PATIENCE, Worker, http, is_ready
from tests.integration.outlet import Outlet


@pytest.fixture
def plant():
    """A plant of the test's own, and the name of its gateway's session; two runs of one test have two."""
    return f"plant-{uuid4().hex[:12]}"


@pytest.fixture
def registry(stack):
    return Registry(stack.settings.registry, stack.settings.data / "schemas")


@pytest.fixture
def outlet(registry, schema_ids):
    return lambda producer: Outlet(producer, schema_ids, Writers(registry))


@pytest.fixture
def schema_ids(registry):
    return {contract.topic: registry.register(contract) for contract in (READINGS, DEAD_LETTERS)}


@pytest.fixture
async def session(stack, plant):
    session = Session(stack.settings.mqtt, plant, f"factory/{plant}/#", plant)
    yield session
    await session.stop()


@pytest.fixture
async def gateway(stack, session, outlet):
    producer = Producer(stack.settings.kafka)
    gateway = Ingest(outlet(producer), session, gate=None, publisher=None)
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
    # paho sends what is published while it connects out of order
    while not client.is_connected():
        time.sleep(0.01)
    yield client
    client.disconnect()
    client.loop_stop()


@pytest.fixture(params=[Artemis, Mosquitto])
def private(request, stack, tmp_path):
    """Settings with an MQTT broker of the test's own, which knows no other test's sessions, and that broker."""
    (port,) = free_ports(1)
    settings = stack.settings.model_copy(update={"mqtt": f"mqtt://127.0.0.1:{port}", "data": tmp_path})
    service = request.param(settings)
    service.start()
    service.wait()
    yield settings, service
    service.stop()


@pytest.fixture
def start(stack, tmp_path):
    """Starts gateways as a user does; what still runs when the test ends is killed."""
    workers = []

    def started(settings, instance=""):
        # the stack's own mark: it stops what is left of it, whatever happens here
        # a port of its own each, as two of one name may run at once
        workers.append(Worker(settings, tmp_path, instance=instance, module="streams.gateway", port=free_ports(1)[0]))
        return workers[-1]

    yield started
    for worker in workers:
        worker.kill()


@contextmanager
def publisher(settings):
    """A device that speaks what the broker speaks."""
    clients = []

    def dial(protocol):
        clients.append(Client(CallbackAPIVersion.VERSION2, protocol=protocol))
        connect(clients[-1], settings.mqtt)

    connect(version_probe(dial), settings.mqtt)
    while not (clients and clients[0].is_connected()):
        time.sleep(0.01)
    yield clients[0]
    clients[0].disconnect()
    clients[0].loop_stop()


async def until(condition, seconds=PATIENCE):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110, the condition is another thread's or process's
            await asyncio.sleep(0.02)


def publish(device, plant, numbers, payload=None, content_type=None):
    properties = Properties(PacketTypes.PUBLISH)
    if content_type is not None:
        properties.ContentType = content_type
    now = int(time.time() * 1000) - 100_000
    return [
        device.publish(
            f"factory/{plant}/{plant}.press-{n % 7}/temperature",
            payload or orjson.dumps({"value": 20, "timestamp": now + n}),
            qos=1,
            properties=properties,
        )
        for n in numbers
    ]


def ends(consumer, partition):
    """The partition's end; asks again where a broker has just come back."""
    patiently = Retrying(retry=retry_if_exception_type(KafkaException), stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.2), reraise=True)
    return patiently(consumer.get_watermark_offsets, partition, timeout=10)[1]


def read(stack, contract, schema_ids):
    """Everything in a topic, decoded."""
    consumer = Consumer({"bootstrap.servers": stack.settings.kafka, "group.id": "test"})
    partitions = [TopicPartition(contract.topic, partition, 0) for partition in range(contract.partitions)]
    expected = sum(ends(consumer, partition) for partition in partitions)
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
    for n in range(700):  # of what comes at once, the local broker may change the order
        (sent,) = publish(device, plant, [n])
        sent.wait_for_publish(PATIENCE)
    await until(lambda: gateway.produced == 700)
    arrived = timestamps(stack, schema_ids, plant)
    assert set(arrived) == {f"{plant}.press-{n}" for n in range(7)}
    assert {device: len(times) for device, times in arrived.items()} == dict.fromkeys(arrived, 100)
    assert all(times == sorted(times) for times in arrived.values())
    assert (gateway.received, gateway.rejected) == (700, 0)


async def test_what_is_no_reading_becomes_a_dead_letter_and_holds_up_nothing(stack, gateway, device, plant, schema_ids):
    undecodable, incompatible, null = "undecodable", "incompatible-schema", "null-field"
    garbage = {b" ": undecodable, b"{": undecodable, b"\xff\x00": undecodable, b"x" * 2_000_000: "too-large"}
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


def newer(codec):
    """A schema of a newer device, with one more field."""
    schema = orjson.loads(codec.text)
    schema["fields"].insert(1, {"name": "firmware", "type": ["null", "string"], "default": None})
    return Codec(orjson.dumps(schema).decode())


def register(stack, subject, codec):
    answer = http.post(f"{stack.settings.registry}/subjects/{subject}/versions", json={"schema": codec.text})
    return answer.raise_for_status().json()["id"]


def readings_of(plant, values):
    row = {"device_id": f"{plant}.press-0", "sensor_type": "temperature", "timestamp": int(time.time() * 1000), "location": "hall-1"}
    row |= {"metadata": {"shift": "early"}, "plant": plant}
    return pl.DataFrame([{**row, "value": value} for value in values], READINGS.codec.columns)


async def test_every_format_becomes_the_same_reading_and_a_newer_schema_flows_too(stack, gateway, device, plant, schema_ids):
    frame = readings_of(plant, [20.5])
    schema = newer(READINGS.codec)
    newer_id = register(stack, f"{plant}-value", schema)
    payloads = {
        "application/json": orjson.dumps({name: value for name, value in frame.row(0, named=True).items() if name != "device_id"}),
        "application/x-protobuf": protobuf_wire.encode(READINGS.codec, frame)[0],
        "application/avro": encode(READINGS.codec, schema_ids[READINGS.topic], frame)[0],
        "Application/Avro; newer": encode(schema, newer_id, frame.with_columns(firmware=pl.lit("2.1")))[0],
    }
    for content_type, payload in payloads.items():
        publish(device, plant, [0], payload, content_type)
    publish(device, plant, [0], payloads["application/json"], "text/html")
    await until(lambda: gateway.received == 5 == gateway.produced + gateway.rejected)
    written = read(stack, READINGS, schema_ids).filter(device_id=f"{plant}.press-0").drop("row")
    assert written.equals(pl.concat([frame] * 4))
    letters = read(stack, DEAD_LETTERS, schema_ids).filter(topic=f"factory/{plant}/{plant}.press-0/temperature")
    assert letters["reason"].to_list() == ["unknown-format"]


async def test_while_the_registry_is_away_only_messages_of_schemas_it_has_yet_to_tell_wait(
    stack, session, outlet, device, plant, schema_ids, tmp_path
):
    producer = Producer(stack.settings.kafka)
    app = outlet(producer)
    app.writers = Writers(Registry("http://127.0.0.1:9/nobody", tmp_path))
    gateway = Ingest(app, session, gate=None, publisher=None)
    await gateway.start()
    await until(lambda: session.subscribed)
    publish(device, plant, [0], encode(READINGS.codec, schema_ids[READINGS.topic], readings_of(plant, [1.0]))[0], "application/avro")
    await until(lambda: gateway.waiting == 1)
    publish(device, plant, range(100))
    held = [n for n in range(100) if n % 7 == 0]  # of the same device
    await until(lambda: gateway.received == 101 and gateway.produced == 100 - len(held))
    assert (gateway.rejected, gateway.waiting) == (0, 1 + len(held))
    await gateway.stop()
    # unacknowledged, they come again to who has the schema
    successor = Ingest(outlet(producer), Session(stack.settings.mqtt, plant, f"factory/{plant}/#", plant), gate=None, publisher=None)
    await successor.start()
    await until(lambda: successor.produced >= 1 + len(held))  # a broker may bring what is unacknowledged more than once
    await successor.stop()
    await producer.close()


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


async def test_while_kafka_is_down_messages_wait_unacknowledged_and_bounded_and_then_flow(stack, device, plant, outlet, schema_ids):
    session = Session(stack.settings.mqtt, plant, f"factory/{plant}/#", plant, receive_maximum=50)
    producer = Producer(stack.settings.kafka)
    gateway = Ingest(outlet(producer), session, gate=None, publisher=None)
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


async def heard(session, count):
    """The next messages of a session."""
    arrived = []
    while len(arrived) < count:
        arrivals = await asyncio.wait_for(session.arrivals(), PATIENCE)
        session.acknowledge(arrivals)
        arrived += arrivals
    return arrived


async def test_messages_of_any_size_come_whole_and_in_order(session, device, plant):
    session.start()
    await until(lambda: session.subscribed)
    sizes = [0, 1, 127, 128, 16_383, 16_384, 700_000, 2, 65_536, 3]  # where a length takes another byte, and more than one read
    sent = [bytes([number]) * size for number, size in enumerate(sizes * 3)]
    for payload in sent:  # of what comes at once, the local broker may change the order
        device.publish(f"factory/{plant}/press/x", payload, qos=1).wait_for_publish(PATIENCE)
    assert [arrival.payload for arrival in await heard(session, len(sent))] == sent


def topics(arrivals):
    return [arrival.topic for arrival in arrivals]


def tell(device, *topics):
    for topic in topics:
        device.publish(topic, b"1", qos=1).wait_for_publish(PATIENCE)


async def had(settings, client_id):
    """Whether the broker has a session of that name."""
    answers = []
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5)
    client.on_connect = lambda *args: answers.append(args[2].session_present)
    connect(client, settings.mqtt, clean_start=False)
    await until(lambda: answers)
    client.disconnect()
    client.loop_stop()
    return answers[0]


@pytest.fixture
def noting(stack, plant, tmp_path):
    """Starts sessions of one name that note what they ask for."""

    def started(filters, group=""):
        session = Session(stack.settings.mqtt, plant, filters, group, Filters(tmp_path / "filters.json"))
        session.start()
        return session

    return started


@pytest.mark.parametrize("group", ["", "some"], ids=["alone", "shared"])
async def test_a_filter_that_is_no_longer_wanted_is_given_up_and_what_came_by_it_meanwhile_is_not_lost(device, plant, noting, group):
    first = noting(f"{plant}/a/#", group)
    await until(lambda: first.subscribed)
    await first.stop()
    tell(device, f"{plant}/a/1", f"{plant}/b/1")
    second = noting(f"{plant}/b/#", group)
    await until(lambda: second.subscribed)
    tell(device, f"{plant}/a/2", f"{plant}/b/2")
    assert topics(await heard(second, 2)) == [f"{plant}/a/1", f"{plant}/b/2"]
    await second.stop()


@pytest.mark.parametrize("private", [Mosquitto], indirect=True)
async def test_a_session_that_is_no_longer_wanted_is_read_to_its_end_and_ended(private, plant, tmp_path):
    settings, _ = private

    def noting(filters):
        session = Session(settings.mqtt, plant, filters, "", Filters(tmp_path / "filters.json"))
        session.start()
        return session

    with publisher(settings) as device:
        first = noting(f"{plant}/a/#,{plant}/b/#")
        await until(lambda: first.subscribed)
        names = [link.client_id for link in first._links]
        await first.stop()
        tell(device, f"{plant}/a/1", f"{plant}/b/1")
        second = noting(f"{plant}/b/#,{plant}/c/#")
        assert sorted(topics(await heard(second, 2))) == [f"{plant}/a/1", f"{plant}/b/1"]
        await until(lambda: second.subscribed and all(link.subscribed for link in second._retired))
        tell(device, f"{plant}/a/2", f"{plant}/c/2", f"{plant}/b/2")
        assert sorted(topics(await heard(second, 2))) == [f"{plant}/b/2", f"{plant}/c/2"]
        await second.stop()
        await asyncio.sleep(2)  # a broker ends a session when it comes to that; to ask for it sooner is to take it up
        # the local broker keeps some of them until they expire
        assert [await had(settings, name) for name in names] == [False, True]
        third = noting(f"{plant}/b/#,{plant}/c/#")
        assert third._retired == []
        await until(lambda: third.subscribed)
        await third.stop()


async def test_two_gateways_share_the_messages(stack, gateway, device, plant, outlet):
    producer = Producer(stack.settings.kafka)
    other = Session(stack.settings.mqtt, f"{plant}-2", f"factory/{plant}/#", plant)
    second = Ingest(outlet(producer), other, gate=None, publisher=None)
    await second.start()
    await until(lambda: other.subscribed)
    publish(device, plant, range(1000))
    await until(lambda: gateway.produced + second.produced == 1000)
    assert min(gateway.produced, second.produced) > 0
    await second.stop()
    await producer.close()


async def test_a_failed_delivery_crashes_the_gateway_with_nothing_acknowledged(stack, device, plant, outlet):
    async def start(producer):
        session = Session(stack.settings.mqtt, plant, f"factory/{plant}/#", plant)
        gateway = Ingest(outlet(producer), session, gate=None, publisher=None)
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
    await until(lambda: gateway.produced >= 10)  # a broker may bring what is unacknowledged more than once
    await gateway.stop()
    await asyncio.gather(nowhere.close(), kafka.close())


# -- `faust -A streams.gateway worker`


async def test_the_worker_carries_readings_over_either_broker_and_stops_cleanly(stack, private, start, plant, schema_ids):
    settings, broker = private
    worker = start(settings)
    await until(lambda: is_ready(worker))
    with publisher(settings) as device:
        publish(device, plant, range(500))
        await until(lambda: sum(map(len, timestamps(stack, schema_ids, plant).values())) == 500)
    assert worker.stop() == 0
    arrived = timestamps(stack, schema_ids, plant)
    assert len({time for times in arrived.values() for time in times}) == 500
    if isinstance(broker, Mosquitto):  # of what comes at once, the other may change the order
        assert all(times == sorted(times) for times in arrived.values())


@pytest.fixture
def away(stack):
    """Kills Kafka; gives what starts it again, which is done in any case."""
    stack.kafka.kill()

    def back():
        if not stack.kafka.running:
            stack.kafka.start()
        stack.kafka.wait()

    yield back
    back()


async def test_while_kafka_is_down_either_broker_waits_for_its_acknowledgements(stack, private, start, plant, schema_ids, request):
    settings, _ = private
    worker = start(settings)
    await until(lambda: is_ready(worker))
    back = request.getfixturevalue("away")
    with publisher(settings) as device:
        sent = publish(device, plant, range(100))
        await until(lambda: all(message.is_published() for message in sent))
    await asyncio.to_thread(back)
    await until(lambda: sum(map(len, timestamps(stack, schema_ids, plant).values())) == 100)
    assert worker.stop() == 0


async def test_messages_of_the_time_between_two_gateways_are_kept_by_either_broker(stack, private, start, plant, schema_ids):
    settings, _ = private
    first = start(settings)
    await until(lambda: is_ready(first))
    assert first.stop() == 0
    with publisher(settings) as device:
        sent = publish(device, plant, range(100))
        await until(lambda: all(message.is_published() for message in sent))
    start(settings)
    await until(lambda: sum(map(len, timestamps(stack, schema_ids, plant).values())) == 100)


async def test_a_gateway_killed_in_mid_load_and_started_again_loses_nothing(stack, private, start, plant, schema_ids):
    settings, _ = private
    worker = start(settings)
    await until(lambda: is_ready(worker))
    with publisher(settings) as device:
        sent = []
        for first in range(0, 9000, 3000):
            for n in range(first, first + 3000, 100):
                sent += publish(device, plant, range(n, n + 100))
                await asyncio.sleep(0.02)
            worker.kill()
            worker = start(settings)
        await until(lambda: len({t for times in timestamps(stack, schema_ids, plant).values() for t in times}) == len(sent) == 9000)


async def test_two_gateways_of_one_name_are_told_in_words(private, start, tmp_path):
    settings, _ = private
    first = start(settings, "north")
    await until(lambda: is_ready(first))
    second = start(settings, "north")
    await until(lambda: second.process.poll() is not None)
    assert second.process.returncode == 1
    assert "is another gateway of this name running?" in second.tail()
    assert is_ready(first)
    # on another machine nothing but the session at the broker tells of it
    start(settings.model_copy(update={"data": tmp_path / "elsewhere"}), "north")
    await until(lambda: "mqtt_session_taken_over client_id=gateway-north" in first.log.read_text())
    assert "HEADRACE_INSTANCE" in first.log.read_text()


async def test_a_gateway_that_cannot_deliver_exits_with_an_error(stack, start, plant, tmp_path):
    """A record Kafka will never take; the topic's limit is put below what the gateway sends."""
    worker = start(stack.settings)
    await until(lambda: is_ready(worker))
    limits = [ConfigEntry("max.message.bytes", value, incremental_operation=AlterConfigOpType.SET) for value in ("100", "1048588")]
    admin = AdminClient({"bootstrap.servers": stack.settings.kafka})
    for limit in limits:
        resource = ConfigResource(ResourceType.TOPIC, READINGS.topic, incremental_configs=[limit])
        admin.incremental_alter_configs([resource])[resource].result()
        if limit is limits[0]:
            with publisher(stack.settings) as device:
                publish(device, plant, [0])
                await until(lambda: worker.process.poll() is not None)
    assert worker.process.returncode == 1
    assert "DeliveryFailed" in worker.log.read_text()
