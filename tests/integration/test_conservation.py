"""What devices were told is safe is in Kafka once and in order, whatever was killed, away or full meanwhile."""

import random
import resource
import threading
import time
from collections import defaultdict
from contextlib import closing, contextmanager
from itertools import pairwise

import httpx
import orjson
import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from bench.mosquitto import Mosquitto
from deploy.embedded.preflight import free_ports
from deploy.embedded.stack import LocalStack, on_free_ports
from schemas.catalog import LIGHTS, MANHOLES, PARKING
from streams.keeping import DRAIN_RECORDS
from streams.mqtt import connect
from tests.conformance.test_protocols import let_in, made
from tests.integration.line import PATIENCE, Topics, Worker, http, wait

pytestmark = pytest.mark.long

DOWN_SECONDS = 60
KILLS = 10
DUPLICATES = 0.05
DISORDER_MS = 60_000
CLOCKS_MS = 600_000  # devices' own, either way
MORE_THAN_A_SESSION_GIVES_OUT = 5_000  # without an answer


@pytest.fixture
def stack(recorded, tmp_path):
    # Mosquitto keeps a topic's order where a session is taken up again; Artemis 2.55 now and then lets a new message pass
    with LocalStack(on_free_ports(tmp_path / "stack"), mqtt=Mosquitto) as stack:
        yield stack


@pytest.fixture
def settings(stack):
    (http,) = free_ports(1)
    # as fast as it can: what a device may send is not what this is about
    return stack.settings.model_copy(update={"gateway_http": f"127.0.0.1:{http}", "gateway_device_rate": 100_000})


class Gateway:
    """A gateway that is started again whenever it ends, as a supervisor would."""

    def __init__(self, settings, folder):
        self.settings, self.folder = settings, folder
        self._over = threading.Event()
        self._start()
        self._thread = threading.Thread(target=self._supervise)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.worker.kill()

    def _start(self):
        self.worker = Worker(self.settings, self.folder, module="streams.gateway")

    def _supervise(self):
        while not self._over.wait(0.2):
            if self.worker.process.poll() is not None:
                self._start()

    def get(self, path):
        try:
            return http.get(f"http://127.0.0.1:{self.worker.port}{path}", timeout=5)
        except httpx.TransportError:
            return None

    def is_ready(self):
        answer = self.get("/ready")
        return answer is not None and answer.status_code == 200

    def ledger(self):
        """Of the running process: outcome → messages, what is spooled among them."""
        answer = self.get("/metrics")
        found = {}
        for line in answer.text.splitlines() if answer else ():
            if line.startswith("headrace_device_messages_total{"):
                found[line.partition('outcome="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
            elif line.startswith("headrace_spooled_messages{"):
                found["spooled"] = float(line.rpartition(" ")[2])
        return found


def balanced(ledger):
    return ledger["accepted"] == sum(ledger.get(name, 0) for name in ("delivered", "spooled", "rejected", "duplicate"))


class Devices:
    """Senders in threads of their own, and what each was told is safe."""

    def __init__(self):
        self.acknowledged = defaultdict(set)
        self.over = threading.Event()
        self._random = random.Random(7)
        self._numbers = defaultdict(int)

    def payload(self, device, sequence):
        clock = (hash(device) % 3 - 1) * CLOCKS_MS
        at = int(time.time() * 1000) + clock + self._random.randint(-DISORDER_MS, DISORDER_MS)
        return orjson.dumps({"sequence": sequence, "timestamp": at, "on": True, "occupied": True, "tilt_deg": 1})

    def times(self):
        return 2 if self._random.random() < DUPLICATES else 1

    def over_mqtt(self, url, count):
        client = Client(CallbackAPIVersion.VERSION2, "conservation", protocol=MQTTv5)
        client.max_inflight_messages_set(1_000)
        lasting = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 3600  # or the broker forgets halves of what is sent with QoS 2 when the connection breaks
        connect(client, url, clean_start=False, properties=lasting)
        wait(client.is_connected, lambda: "no connection")
        pending, broken = [], False
        while not self.over.is_set():
            if broken or not client.is_connected():
                # paho sends what is published while it connects, or resends, before what it sends again
                time.sleep(1)
                broken = not all(message._published for _, _, message in pending)
                continue
            for number in range(count):
                if broken := not client.is_connected():
                    break
                urgent = number % 4 == 0
                device = f"{'m' if urgent else 'l'}-{number}"
                self._numbers[device] += 1
                sequence = self._numbers[device]
                topic = f"manhole/{device}/alarm" if urgent else f"lights/{device}/status"
                payload, qos = self.payload(device, sequence), 2 if urgent else 1
                pending += [(device, sequence, client.publish(topic, payload, qos)) for _ in range(self.times())]
            time.sleep(0.05)
        wait(lambda: all(message._published for _, _, message in pending), lambda: "the MQTT broker took not all")
        for device, sequence, _ in pending:
            self.acknowledged[device].add(sequence)
        client.disconnect()
        client.loop_stop()

    def over_http(self, address, device):
        """Ten at a time, again and again until it is told that they are safe."""
        sequence = 0
        with httpx.Client(base_url=f"http://{address}", timeout=30) as client:
            while not self.over.is_set():
                numbers = range(sequence + 1, sequence + 11)
                items = [
                    {"topic": f"parking/{device}/occupancy", "data": orjson.loads(self.payload(device, number))}
                    for number in numbers
                    for _ in range(self.times())
                ]
                while not self.over.is_set():
                    try:
                        answer = client.post("/messages", json=items)
                    except httpx.TransportError:
                        time.sleep(0.2)
                        continue
                    if answer.status_code == 202:
                        self.acknowledged[device].update(numbers)
                        break
                    time.sleep(0.5)
                sequence = numbers[-1]
                time.sleep(0.05)


def kept(settings, contracts):
    """Device → sequence numbers in Kafka, in the order of the log, as they first came."""
    found = defaultdict(dict)
    with closing(Topics(settings)) as topics:
        for contract in contracts:
            for device, data in topics.frame(contract).select("device_id", "data").iter_rows():
                found[device][orjson.loads(data)["sequence"]] = True
    return {device: [*numbers] for device, numbers in found.items()}


def overtaken(found):
    """Device → pairs of numbers of which the later is before the earlier in Kafka."""
    pairs = {device: [(a, b) for a, b in pairwise(numbers) if a > b] for device, numbers in found.items()}
    return {device: wrong for device, wrong in pairs.items() if wrong}


def test_every_message_a_device_was_told_is_safe_is_in_kafka_and_in_order(stack, settings, tmp_path):
    devices, ledgers = Devices(), []
    with Gateway(settings, tmp_path) as gateway:
        wait(gateway.is_ready, lambda: gateway.worker.tail())
        threads = [threading.Thread(target=devices.over_mqtt, args=(settings.mqtt, 20))]
        threads += [threading.Thread(target=devices.over_http, args=(settings.gateway_http, f"p-{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        try:
            for kill in range(KILLS):
                time.sleep(devices._random.uniform(0.5, 2))
                if kill == 3:
                    stack.kafka.kill()
                    down_at = time.monotonic()
                    time.sleep(10)  # some seconds of what only the disk has
                    ledgers.append(gateway.ledger())
                if kill == 5:
                    stack.mqtt.stop()
                    stack.mqtt.start()
                    stack.mqtt.wait()
                gateway.worker.kill()
                if kill == 4:
                    time.sleep(max(0.0, down_at + DOWN_SECONDS - time.monotonic()))
                    stack.kafka.start()
                    stack.kafka.wait()
                if kill != 3:
                    wait(gateway.is_ready, lambda: gateway.worker.tail())
                ledgers.append(gateway.ledger())
            time.sleep(2)
        finally:
            devices.over.set()
            for thread in threads:
                thread.join()
        wait(lambda: (gateway.ledger() or {"spooled": 1})["spooled"] == 0, lambda: f"{gateway.ledger()}\n{gateway.worker.tail()}")
        found = {}

        def all_there():
            found.update(kept(settings, (LIGHTS, MANHOLES, PARKING)))
            return not missing()

        def missing():
            lost = {device: told.difference(found.get(device, ())) for device, told in devices.acknowledged.items()}
            return {device: sorted(numbers)[:9] for device, numbers in lost.items() if numbers}

        wait(all_there, lambda: f"missing: {missing()}")
        ledgers.append(gateway.ledger())
    assert sum(map(len, devices.acknowledged.values())) > 5_000
    assert any(ledger.get("spooled") for ledger in ledgers)
    assert all(balanced(ledger) for ledger in ledgers if "accepted" in ledger), ledgers
    assert overtaken(found) == {}


def test_a_full_disk_is_told_to_devices_and_costs_nothing(stack, settings, tmp_path):
    with Gateway(settings, tmp_path) as gateway, httpx.Client(base_url=f"http://{settings.gateway_http}", timeout=60) as client:
        wait(gateway.is_ready, lambda: gateway.worker.tail())

        def post(number):
            data = {"sequence": number, "occupied": True, "note": "x" * 5_000}
            return client.post("/messages/parking/p-1/occupancy", json=data)

        assert post(0).status_code == 202
        stack.kafka.kill()
        assert post(1).json() == {"verdict": "spooled"}
        spool = max((tmp_path / "stack" / "spool").glob("*"), key=lambda file: file.stat().st_size)
        process = psutil.Process(gateway.worker.process.pid)
        process.rlimit(resource.RLIMIT_FSIZE, (spool.stat().st_size + 50_000, resource.RLIM_INFINITY))
        told, number = [], 2
        while len(told) < 3 and number < 100:
            answer = post(number)
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) > 0
                told.append(number)
                time.sleep(int(answer.headers["Retry-After"]))
            else:
                assert answer.json() == {"verdict": "spooled"}
                number += 1
        assert len(told) == 3
        assert not gateway.is_ready()
        assert balanced(gateway.ledger())
        stack.kafka.start()  # what lies on the disk goes to Kafka, though the disk lets nothing go
        stack.kafka.wait()
        wait(lambda: post(number).status_code == 202, lambda: gateway.worker.tail())
        wait(lambda: kept(settings, [PARKING]).get("p-1") == [*range(number + 1)], lambda: f"{kept(settings, [PARKING])}, {number}")
        assert balanced(gateway.ledger())


@retry(retry=retry_if_exception_type(KafkaException), stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.2), reraise=True)
def times(settings, topic):
    """Those of a topic's messages; asks again where a broker has just come back."""
    with closing(Consumer({"bootstrap.servers": settings.kafka, "group.id": "conservation", "log_level": 0})) as consumer:
        partitions = [TopicPartition(topic, number, 0) for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
        end = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
        consumer.assign(partitions)
        found = []
        while len(found) < end:
            found += consumer.consume(10_000, timeout=0.2)
    return [message.timestamp()[1] for message in found]


def publish(url, device, count):
    """So many messages of a parking sensor, taken by the MQTT broker."""
    client = Client(CallbackAPIVersion.VERSION2, device, protocol=MQTTv5)
    client.max_inflight_messages_set(1_000)
    connect(client, url)
    wait(client.is_connected, lambda: "no connection")
    payloads = [orjson.dumps({"occupied": True, "sequence": number}) for number in range(count)]
    for told in [client.publish(f"parking/{device}/occupancy", payload, qos=1) for payload in payloads]:
        told.wait_for_publish(PATIENCE)
    client.disconnect()
    client.loop_stop()


@contextmanager
def slowed_down(url):
    """What devices are told over MQTT of sending later, by topic."""
    told = {}
    client = Client(CallbackAPIVersion.VERSION2, "listener", protocol=MQTTv5)
    client.on_message = lambda _client, _data, message: told.update({message.topic: orjson.loads(message.payload)})
    client.on_connect = lambda client, *_: client.subscribe("devices/+/slow-down", qos=1)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    connect(client, url)
    assert subscribed.wait(PATIENCE)
    yield told
    client.disconnect()
    client.loop_stop()


def test_a_tenant_whose_share_of_the_disk_is_full_holds_up_no_other_one(stack, settings, tmp_path):
    own = {
        "tenants": "a,b",
        "mqtt_topics": "parking/a_p/#,parking/b_p/#",
        "spool_mb": 8,
        "gateway_tenant_rate": 0,
        "gateway_device_rate": 0,
    }
    settings = settings.model_copy(update=own)
    with Gateway(settings, tmp_path) as gateway, httpx.Client(base_url=f"http://{settings.gateway_http}", timeout=60) as client:
        wait(gateway.is_ready, lambda: gateway.worker.tail())

        tokens = {tenant: let_in(settings, made(settings.model_copy(update={"tenant": tenant}), "p-1")) for tenant in "ab"}

        def post(tenant, numbers):
            data = {"occupied": True, "note": "x" * 200}
            batch = [{"topic": "parking/p-1/occupancy", "data": data | {"sequence": number}} for number in numbers]
            return client.post("/messages", json=batch, headers={"Authorization": f"Bearer {tokens[tenant]}"}).json()["verdicts"]

        assert post("a", [0]) + post("b", [0]) == ["delivered"] * 2
        stack.kafka.kill()
        assert post("b", [1]) == ["spooled"]
        taken, verdicts = 1, []
        while "full" not in verdicts:
            verdicts = post("a", range(taken, taken + 1_000))
            taken += verdicts.count("spooled")
        assert taken > 4 * DRAIN_RECORDS
        assert set(post("b", range(2, 12))) == {"spooled"}
        with slowed_down(settings.mqtt) as told:
            publish(settings.mqtt, "a_p", MORE_THAN_A_SESSION_GIVES_OUT)
            publish(settings.mqtt, "b_p", 10)
            wait(lambda: 'headrace_spooled_messages{tenant="b"} 21.0' in gateway.get("/metrics").text, lambda: f"{gateway.ledger()}")
            wait(lambda: told, lambda: "no device was told to send later")
        assert told == {"devices/a_p/slow-down": {"slow_down_seconds": 5}}
        stack.kafka.start()
        stack.kafka.wait()
        wait(
            lambda: len(times(settings, "a.parking.occupancy.raw")) == taken + MORE_THAN_A_SESSION_GIVES_OUT,
            lambda: f"{taken}, {gateway.ledger()}",
        )
        wait(lambda: len(times(settings, "b.parking.occupancy.raw")) == 22, lambda: f"{gateway.ledger()}")
        # those of b went with the first of a, not behind all of them
        assert max(times(settings, "b.parking.occupancy.raw")) < max(times(settings, "a.parking.occupancy.raw"))
        assert post("b", [12]) == ["delivered"]
