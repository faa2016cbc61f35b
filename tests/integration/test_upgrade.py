"""A production line upgraded in mid-run: a newer schema and a new sensor type flow on, and no worker is started again."""

import itertools
import json
import time
from contextlib import closing, suppress

import httpx
import polars as pl
from confluent_kafka import Producer

from schemas.catalog import ALERTS, DEAD_LETTERS, READINGS, SENSORS
from schemas.codec import Codec
from schemas.registry import Registry
from schemas.wire import encode
from streams.clickhouse import ClickHouse
from tests.integration.line import PATIENCE, Topics, Worker, headrace, http, wait

FLOW = """domain: factory
sensors:
  - name: flow
    unit: l/min
    minimum: 0
    maximum: 400
    critical: 350
    fast: 80
"""
DEVICES = 20
EACH = 100
STARTS = itertools.count(int(time.time() * 1000), DEVICES * EACH)


def newer():
    """The schema of a newer machine: one more optional field."""
    schema = json.loads(READINGS.codec.text)
    schema["fields"].append({"name": "firmware", "type": ["null", "string"], "default": None})
    return Codec(json.dumps(schema))


def register(kafka, codec):
    answer = http.post(f"{kafka.registry}/subjects/{READINGS.subject}/versions", json={"schema": codec.text}, timeout=30)
    return answer.raise_for_status().json()["id"]


def produce(kafka, codec, schema_id, sensor, value):
    """A hundred readings of each of the machines, of one sensor; each has a millisecond of its own."""
    count = DEVICES * EACH
    number = pl.int_range(count, eager=True)
    frame = pl.DataFrame(
        {
            "device_id": pl.select(pl.format("press-{}", number % DEVICES)).to_series(),
            "sensor_type": pl.repeat(sensor, count, eager=True),
            "value": pl.repeat(value, count, dtype=pl.Float64, eager=True) + number / count,
            "timestamp": next(STARTS) + number,
            "location": pl.repeat("hall-1", count, eager=True),
            "metadata": pl.Series([{"shift": "early"}] * count, dtype=READINGS.codec.columns["metadata"]),
            "plant": pl.repeat("plant-1", count, eager=True),
            "firmware": pl.repeat("2.1", count, eager=True),
        }
    )
    producer = Producer({"bootstrap.servers": kafka.kafka, "partitioner": "murmur2_random"})
    for key, record in zip(frame["device_id"], encode(codec, schema_id, frame), strict=True):
        producer.produce(READINGS.topic, record, key)
        producer.poll(0)
    assert producer.flush(PATIENCE) == 0
    return count


def types_of(worker):
    """Sensor types in force in a worker, by name."""
    with suppress(httpx.TransportError):
        return {row["name"]: row for row in http.get(f"http://127.0.0.1:{worker.port}/sensors", timeout=30).json()["domains"]["factory"]}
    return {}


def known(worker, name, **expected):
    wait(lambda: expected.items() <= types_of(worker).get(name, {}).items(), worker.tail, worker=worker)


def letters_of(topics):
    return dict(topics.frame(DEAD_LETTERS)["reason"].value_counts().iter_rows())


def test_a_line_upgraded_in_mid_run_flows_on_without_a_restart(kafka, topics, tmp_path):
    with (
        Worker(kafka, tmp_path) as factory,
        Worker(kafka, kafka.data, module="streams.warehouse") as warehouse,
        closing(Topics(kafka, "warehouse")) as stored,
    ):
        workers = (factory, warehouse)
        old = READINGS.codec
        old_id = Registry(kafka.registry, tmp_path / "schemas").register(READINGS)
        sent = produce(kafka, old, old_id, "temperature", 20)
        topics.wait_until_read(factory)

        # machines are upgraded: their readings have a new optional field
        new_id = register(kafka, newer())
        assert new_id != old_id
        sent += produce(kafka, newer(), new_id, "temperature", 30)
        # a sensor of a type nobody knows yet
        unknown = produce(kafka, newer(), new_id, "flow", 100)
        topics.wait_until_read(factory)
        assert letters_of(topics) == {"unknown-sensor": unknown}

        # which the operator applies, before machines that are not upgraded go on and more that are do
        (tmp_path / "sensors.yaml").write_text(FLOW)
        assert headrace(kafka, "sensors", "apply", tmp_path / "sensors.yaml") == (0, "applied to factory: flow, in force in 2 s\n")
        for worker in workers:
            known(worker, "flow", maximum=400.0)
        wait(lambda: time.time() * 1000 >= types_of(factory)["flow"]["in_force_at"], factory.tail)
        sent += produce(kafka, newer(), new_id, "flow", 355)
        sent += produce(kafka, old, old_id, "temperature", 40)
        topics.wait_until_read(factory)
        stored.wait_until_read(warehouse)
        assert letters_of(topics) == {"unknown-sensor": unknown}
        alerts = topics.frame(ALERTS).filter(rule="above-critical", subject="flow")
        assert alerts["status"].to_list() == ["RAISED"] * DEVICES

        # taken back, it is known no longer
        assert "flow" in headrace(kafka, "sensors", "list")[1]
        assert headrace(kafka, "sensors", "retire", "factory", "flow")[0] == 0
        assert headrace(kafka, "sensors", "retire", "factory", "smell")[0] == 1
        for worker in workers:
            known(worker, "flow", retired=True)
        stored.wait_until_read(warehouse, SENSORS.topic)

        assert [worker.stop() for worker in workers] == [0, 0]
    with closing(ClickHouse(kafka.clickhouse, kafka.data / "clickhouse")) as clickhouse:
        rows = dict(clickhouse.query("SELECT sensor_type, count() FROM readings FINAL GROUP BY 1").iter_rows())
        assert rows == {"temperature": 3 * DEVICES * EACH, "flow": DEVICES * EACH}
        assert sum(rows.values()) == sent
        audit = clickhouse.query("SELECT name, maximum, retired FROM sensors FINAL ORDER BY in_force_at").rows()
        assert audit[0] == ("flow", 400.0, False)
