"""Whatever a topic holds, every record is counted or becomes a dead letter, and the good ones get through."""

import io
import json
import math
import random
import time
from uuid import uuid4

import fastavro
import polars as pl
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from schemas.bounds import KEY_BYTES, PAYLOAD_BYTES
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.registry import Registry
from schemas.rejects import Reason
from schemas.wire import encode
from tests.integration.line import PATIENCE, UNREGISTERED, Worker, actual, http, wait

DAY_MS = 86_400_000
MEGABYTE = 1_000_000
DEVICE = "plant-1.press-0001"
SENSOR_READING = json.loads(READINGS.codec.text)
GOOD_PARTITIONS, FLOODED = (0, 1, 2), 3


@pytest.fixture
def schema_id(kafka):
    return Registry(kafka.registry, kafka.data / "test-schemas").register(READINGS)


def schema(*added, without=(), types=None):
    """SensorReading as another version of a producer writes it."""
    fields = [field | {"type": (types or {}).get(field["name"], field["type"])} for field in SENSOR_READING["fields"]]
    return SENSOR_READING | {"fields": [field for field in fields if field["name"] not in without] + list(added)}


def register(kafka, written, subject=None):
    """The id of a schema under the topic's own subject, or one that no compatibility check guards."""
    url = f"{kafka.registry}/subjects/{subject or READINGS.subject}/versions"
    answer = http.post(url, json={"schema": json.dumps(written)}, timeout=10)
    assert answer.is_success, answer.text
    return answer.json()["id"]


def reading(**changes):
    usual = {"device_id": DEVICE, "sensor_type": "temperature", "value": 21.5, "timestamp": now()}
    usual |= {"location": "", "metadata": {}, "plant": ""}
    return usual | changes


def now():
    return int(time.time() * 1000)


def written(schema_id, body, by=SENSOR_READING):
    """A framed record, written by a schema."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(by), body)
    return b"\x00" + schema_id.to_bytes(4) + stream.getvalue()


def produce(settings, records, partition=0):
    """Write pairs of key and value to one partition, in order."""
    producer = Producer({"bootstrap.servers": settings.kafka, "message.max.bytes": 8 * MEGABYTE, "linger.ms": 5, "log_level": 0})
    failures = []
    for key, value in records:
        while True:
            try:
                producer.produce(READINGS.topic, value, key, partition, lambda error, _: error and failures.append(error))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(PATIENCE) == 0
    assert failures == []


def letters(topics):
    """Reason, detail, key and value of the dead letters, by partition and offset of the record they are about."""
    frame = topics.frame(DEAD_LETTERS).unique(["topic", "partition", "offset"])
    assert set(frame["topic"]) <= {READINGS.topic}
    return {(row["partition"], row["offset"]): row for row in frame.iter_rows(named=True)}


def conserved(counts):
    return counts["received"] == sum(records for outcome, records in counts.items() if outcome != "received")


def bad_records(kafka, schema_id):
    """Each kind of bad record: key, value, and the reason it has to be rejected for."""
    good = written(schema_id, reading())
    optional_value = schema(types={"value": ["null", "double"]})
    nullable = register(kafka, optional_value, f"nullable-{uuid4().hex}")
    valueless_schema = schema(without=["value"])
    valueless = register(kafka, valueless_schema, f"valueless-{uuid4().hex}")
    yield DEVICE, good[:-9], Reason.UNDECODABLE
    yield DEVICE, good[:5], Reason.UNDECODABLE
    yield DEVICE, good + b"\x00", Reason.UNDECODABLE
    yield DEVICE, good[:5] + random.Random(1).randbytes(80), Reason.UNDECODABLE
    yield DEVICE, good.replace(b"press", b"\xff\xfe\xfd\xfc\xfb"), Reason.UNDECODABLE
    yield DEVICE, b"", Reason.BAD_MAGIC
    yield DEVICE, b"\x00\x00", Reason.BAD_MAGIC
    yield DEVICE, b"\x01" + good[1:], Reason.BAD_MAGIC
    yield DEVICE, b'{"device_id": "plant-1.press-0001"}', Reason.BAD_MAGIC
    yield DEVICE, b"\x00" + UNREGISTERED.to_bytes(4) + good[5:], Reason.UNKNOWN_SCHEMA
    yield DEVICE, b"\x00\xff\xff\xff\xff" + good[5:], Reason.UNKNOWN_SCHEMA
    yield DEVICE, written(valueless, reading(), valueless_schema), Reason.INCOMPATIBLE_SCHEMA
    yield DEVICE, written(nullable, reading(value=None), optional_value), Reason.NULL_FIELD
    for value in (math.nan, math.inf, -math.inf):
        yield DEVICE, written(schema_id, reading(value=value)), Reason.NOT_FINITE
    yield DEVICE, written(schema_id, reading(value=201.0)), Reason.OUT_OF_RANGE
    for timestamp in (0, -1, now() // 1000, now() - 40 * 365 * DAY_MS, now() + DAY_MS, 2**63 - 1, -(2**63)):
        yield DEVICE, written(schema_id, reading(timestamp=timestamp)), Reason.BAD_TIMESTAMP
    yield DEVICE, written(schema_id, reading(sensor_type="torque")), Reason.UNKNOWN_SENSOR
    yield "plant-1.press-0002", good, Reason.WRONG_KEY
    yield None, good, Reason.WRONG_KEY
    yield "", written(schema_id, reading(device_id="")), Reason.BAD_DEVICE_ID
    yield "d" * 201, written(schema_id, reading(device_id="d" * 201)), Reason.BAD_DEVICE_ID
    yield DEVICE, None, Reason.TOMBSTONE
    yield DEVICE, written(schema_id, reading(location="x" * 2 * MEGABYTE, value=201.0)), Reason.OUT_OF_RANGE
    yield DEVICE, random.Random(2).randbytes(2 * MEGABYTE), Reason.BAD_MAGIC
    yield "k" * 2 * MEGABYTE, good, Reason.WRONG_KEY


def allow(settings, topic, record_bytes, large):
    """Have a topic take records of that size; `large`, a good one, goes to another partition once it does."""
    limit = ConfigEntry("max.message.bytes", str(record_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[limit])
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result()

    def in_force():
        try:
            produce(settings, [(DEVICE, large)], partition=GOOD_PARTITIONS[1])
        except AssertionError:
            return False
        return True

    # the controller says yes before the broker goes by it
    wait(in_force, lambda: f"{topic} takes no records of {len(large)} bytes")


def test_every_bad_record_becomes_a_dead_letter_and_the_good_ones_between_them_count(kafka, topics, schema_id, tmp_path):
    allow(kafka, READINGS.topic, 8 * MEGABYTE, written(schema_id, reading(location="x" * 2 * MEGABYTE)))
    bad = list(bad_records(kafka, schema_id))
    load, expected = [], {}
    for number, (key, value, reason) in enumerate(bad):
        expected[0, len(load)] = (reason, key if key is None else key.encode(), value)
        load += [(key, value), (DEVICE, written(schema_id, reading(timestamp=now() + number)))]
    load.append((DEVICE, written(schema_id, reading(timestamp=now() - 1, location="x" * 2 * MEGABYTE))))
    produce(kafka, load)
    with Worker(kafka, tmp_path) as worker:
        topics.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()
    found = letters(topics)
    assert {at: letter["reason"] for at, letter in found.items()} == {at: reason for at, (reason, _, _) in expected.items()}
    for at, (_, key, value) in expected.items():
        assert found[at]["key"] == (key and key[:KEY_BYTES])
        assert found[at]["value"] == (value and value[:PAYLOAD_BYTES])
        assert found[at]["detail"]
    counts = actual(kafka, topics).counts[0]
    assert (counts["received"], counts["accepted"]) == (len(load), len(load) - len(bad))
    assert conserved(counts)


def test_older_and_newer_writers_flow_beside_ours_and_a_worker_still_starts_with_its_own_schema(kafka, topics, schema_id, tmp_path):
    older = schema(without=["location", "metadata", "plant"])
    newer = schema(
        {"name": "firmware", "type": ["null", "string"], "default": None},
        {
            "name": "torque",
            "type": ["null", {"type": "record", "name": "Torque", "fields": [{"name": "nm", "type": "float"}]}],
            "default": None,
        },
    )
    bodies = {"firmware": "2.1", "torque": {"nm": 3.5}, "value": 21}
    with Worker(kafka, tmp_path) as worker:
        worker.wait_for("lane_opened")
        # While the worker runs, so that their ids are new to it.
        ids = {register(kafka, version): version for version in (newer, older)}
        ids[register(kafka, schema(types={"value": "int"}), f"integral-{uuid4().hex}")] = schema(types={"value": "int"})
        writers = [(schema_id, SENSOR_READING), *ids.items()]
        load = [
            (DEVICE, written(number, reading(timestamp=now() - 1_000 + turn * len(writers) + at, **bodies), by))
            for turn in range(50)
            for at, (number, by) in enumerate(writers)
        ]
        produce(kafka, load)
        topics.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()
    assert len(ids | {schema_id: None}) == 4
    assert letters(topics) == {}
    assert actual(kafka, topics).counts[0]["accepted"] == len(load)
    with Worker(kafka, tmp_path) as restarted:
        restarted.wait_for("lane_opened")
        assert restarted.stop() == 0, restarted.tail()


def parked(worker):
    """Batches that wait, by partition."""
    lines = http.get(f"http://127.0.0.1:{worker.port}/metrics", timeout=10).text.splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line.startswith("headrace_parked_batches{"))
    return {int(name.partition('partition="')[2].partition('"')[0]): float(value) for name, value in samples}


def test_a_partition_with_a_new_schema_waits_for_the_registry_while_others_flow_and_nothing_is_lost(
    own_stack, kafka, topics, schema_id, tmp_path
):
    newer = schema({"name": "batch_number", "type": "string", "default": ""})

    def readings(count, number=schema_id, by=SENSOR_READING):
        return [(DEVICE, written(number, reading(timestamp=now() - 1_000 + n, batch_number="7"), by)) for n in range(count)]

    with Worker(kafka, tmp_path) as worker:
        worker.wait_for("lane_opened")
        unknown = register(kafka, newer)
        produce(kafka, readings(1_000), partition=0)
        produce(kafka, readings(100), partition=1)
        topics.wait_until_read(worker)
        own_stack.registry.kill()
        try:
            before = topics.ends()
            produce(kafka, readings(50, unknown, newer), partition=0)
            wait(lambda: parked(worker)[0] > 0, worker.tail, worker=worker)
            for _ in range(5):  # more polls than one
                produce(kafka, readings(1_000), partition=0)
                produce(kafka, readings(1_000), partition=1)
            wait(lambda: topics.committed()[1] == topics.ends()[1], worker.tail, worker=worker)
            assert topics.committed()[0] == before[0]
            assert not any(topics.ends(DEAD_LETTERS.topic).values())
        finally:
            own_stack.registry.start()
            own_stack.registry.wait()
        topics.wait_until_read(worker)
        assert parked(worker)[0] == 0
        assert worker.stop() == 0, worker.tail()
    assert letters(topics) == {}
    counts = actual(kafka, topics).counts
    # What is observed out of order lies below the fence, and is skipped.
    assert {partition: counts[partition]["received"] for partition in (0, 1)} == {0: 6_050, 1: 5_100}
    assert all(conserved(of_partition) for of_partition in counts.values())


def flood(count, schema_id):
    """Garbage of every kind. One in a hundred names a schema id of its own, which the registry has to be asked for."""
    chance = random.Random(7)
    good = written(schema_id, reading())
    kinds = (
        lambda: chance.randbytes(90),
        lambda: good[: chance.randrange(len(good))],
        lambda: good[:5] + chance.randbytes(80),
        lambda: b"",
        lambda: None,
        lambda: b"\x00" + UNREGISTERED.to_bytes(4) + good[5:],
        lambda: written(schema_id, reading(value=math.nan)),
    )
    for number in range(count):
        yield "x", b"\x00" + chance.randrange(1, UNREGISTERED).to_bytes(4) + good[5:] if number % 100 == 0 else chance.choice(kinds)()


def test_a_flood_of_garbage_on_one_partition_lets_the_good_records_of_others_through(kafka, topics, schema_id, tmp_path):
    each = 50_000
    start = now() - each
    for partition in GOOD_PARTITIONS:
        device = f"press-{partition}"
        usual = pl.DataFrame([reading(device_id=device, metadata=[])], READINGS.codec.columns)
        frame = pl.concat([usual] * each).with_columns(timestamp=pl.int_range(start, start + each))
        produce(kafka, [(device, value) for value in encode(READINGS.codec, schema_id, frame)], partition)
    produce(kafka, flood(2 * each, schema_id), FLOODED)
    with Worker(kafka, tmp_path) as worker:
        wait(lambda: all(topics.committed()[partition] == each for partition in GOOD_PARTITIONS), worker.tail, worker=worker)
        # Asking for 1,000 ids takes longer than reading all the good records, on any machine: forty a second.
        assert topics.committed()[FLOODED] < topics.ends()[FLOODED]
        wait(lambda: topics.committed()[FLOODED] > each // 2, worker.tail, worker=worker)
        assert worker.stop() == 0, worker.tail()
    counts = actual(kafka, topics).counts
    assert [counts[partition]["accepted"] for partition in GOOD_PARTITIONS] == [each] * 3
    assert counts[FLOODED]["received"] == len(letters(topics)) == topics.committed()[FLOODED]
    assert conserved(counts[FLOODED])
