import json
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from confluent_kafka import Consumer, TopicPartition
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from agents.gateway.readings import map_readings
from bench.mqtt_load import packed
from schemas.catalog import READINGS
from schemas.registry import Registry
from schemas.rejects import Reason
from schemas.wire import decode
from streams.bulk_mqtt import Arrival
from streams.mqtt import connect

# What a worker rejects before it looks at the readings themselves, and what the gateway does.
UNDECODABLE = {Reason.TOMBSTONE, Reason.BAD_MAGIC, Reason.UNKNOWN_SCHEMA, Reason.UNDECODABLE}


def simulate(stack, *options):
    command = [sys.executable, "-c", "from deploy.simulate.commands import app; app()", "factory", *map(str, options)]
    return subprocess.Popen(command, env=stack.settings.environment(), stderr=subprocess.PIPE, text=True)


def truth_of(path):
    counts, *alerts = map(json.loads, path.read_text().splitlines())
    assert {alert["kind"] for alert in alerts} <= {"alert"}
    return counts, alerts


def arrived(message):
    return Arrival(0, message.mid, message.qos, message.topic, message.payload, packed(message.properties))


@pytest.fixture
def heard(stack):
    """Everything published for the factory."""
    messages = []
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_message = lambda _client, _data, message: messages.append(arrived(message))
    client.on_connect = lambda *_: client.subscribe("factory/+/+/+", qos=1)
    client.on_subscribe = lambda *_: messages.append(None)
    connect(client, stack.settings.mqtt)
    while not messages:
        time.sleep(0.01)
    messages.clear()
    yield messages
    client.disconnect()
    client.loop_stop()


def ends(consumer):
    partitions = [TopicPartition(READINGS.topic, partition) for partition in range(READINGS.partitions)]
    return [TopicPartition(p.topic, p.partition, consumer.get_watermark_offsets(p, timeout=10)[1]) for p in partitions]


def test_at_full_speed_kafka_holds_what_the_truth_says(stack, tmp_path):
    consumer = Consumer({"bootstrap.servers": stack.settings.kafka, "group.id": "test"})
    before = ends(consumer)
    faults = "duplicates=0.02,disorder=0.02,late=0.01,garbage=0.02"
    run = simulate(stack, "--to", "kafka", "--devices", 50, "--count", 30_000, "--faults", faults, "--truth", tmp_path / "truth")
    assert run.wait() == 0, run.stderr.read()
    counts, alerts = truth_of(tmp_path / "truth")
    assert counts["sent"] == sum(end.offset - start.offset for start, end in zip(before, ends(consumer), strict=True))
    consumer.assign(before)
    messages = []
    while len(messages) < counts["sent"]:
        messages += consumer.consume(10_000, timeout=0.2)
    consumer.close()

    registry = Registry(stack.settings.registry, stack.settings.data / "schemas")
    values = [message.value() for message in messages]
    unknown = decode(values, READINGS.codec, registry.known).unknown
    decoded = decode(values, READINGS.codec, registry.known, missing=unknown)
    rejected = Counter(str(reject.reason) for reject in decoded.rejects)
    assert rejected == {reason: count for reason, count in counts["rejects"].items() if reason in UNDECODABLE}
    frame = decoded.frame
    keys = [messages[row].key().decode() for row in frame["row"]]
    assert Counter(key == device for key, device in zip(keys, frame["device_id"], strict=True))[False] == counts["rejects"]["wrong-key"]
    ahead = [time > messages[row].timestamp()[1] for row, time in frame.select("row", "timestamp").iter_rows()]
    assert sum(ahead) <= counts["rejects"]["bad-timestamp"]
    raised = {(a["device_id"], a["sensor_type"], a["changed_at"], a["value"]) for a in alerts}
    assert raised <= set(frame.select("device_id", "sensor_type", "timestamp", "value").iter_rows())


@pytest.mark.parametrize("formats", ["json", "protobuf,avro,json"])
def test_over_mqtt_devices_publish_what_the_truth_says(stack, tmp_path, heard, formats):
    faults = "duplicates=0.02,garbage=0.05"
    run = simulate(stack, "--devices", 50, "--count", 3000, "--faults", faults, "--format", formats, "--truth", tmp_path / "truth")
    assert run.wait() == 0, run.stderr.read()
    counts, _ = truth_of(tmp_path / "truth")
    assert counts["good"] >= 3000
    while len(heard) < counts["sent"]:
        time.sleep(0.01)
    schema_id = Registry(stack.settings.registry, tmp_path / "schemas").register(READINGS)
    mapped = map_readings(heard, {schema_id: READINGS.codec})
    rejected = Counter(str(reject.reason) for reject in mapped.rejects)
    by_gateway = ("undecodable", "null-field", "bad-magic")
    assert rejected == {reason: count for reason, count in counts["rejects"].items() if reason in by_gateway}
    assert {message.content_type.removeprefix("application/") for message in heard} == set(formats.split(","))
    assert mapped.frame["device_id"].n_unique() == 50


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_endless_run_ends_on_a_signal_with_its_truth_written(stack, tmp_path, heard, number):
    run = simulate(stack, "--devices", 20, "--truth", tmp_path / "truth")
    while not heard:
        time.sleep(0.01)
    run.send_signal(number)
    assert run.wait() == 0, run.stderr.read()
    counts, _ = truth_of(tmp_path / "truth")
    while len(heard) < counts["sent"]:
        time.sleep(0.01)
    assert len(heard) == counts["sent"]


def test_a_simulated_machine_acknowledges_what_it_is_told(stack, tmp_path, heard):
    run = simulate(stack, "--devices", 5)
    while not heard:
        time.sleep(0.01)
    answers = []
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.on_message = lambda _client, _data, message: answers.append(json.loads(message.payload))
    client.on_connect = lambda *_: client.subscribe("factory/plant-1/mine/command/ack", qos=1)
    client.on_subscribe = lambda *_: client.publish("factory/plant-1/mine/command", b'{"command_id": "7"}', qos=1)
    connect(client, stack.settings.mqtt)
    while not answers:
        time.sleep(0.01)
    client.disconnect()
    client.loop_stop()
    run.send_signal(signal.SIGTERM)
    assert run.wait() == 0, run.stderr.read()
    assert [(answer["command_id"], answer["ok"]) for answer in answers] == [("7", True)]


def test_without_an_mqtt_broker_it_says_so(stack):
    environment = stack.settings.environment() | {"HEADRACE_MQTT": "mqtt://127.0.0.1:9"}
    command = [sys.executable, "-c", "from deploy.simulate.commands import app; app()", "factory"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "no MQTT broker answers at mqtt://127.0.0.1:9" in run.stderr
    assert "Traceback" not in run.stderr
