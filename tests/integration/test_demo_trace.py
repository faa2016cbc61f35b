"""What the demo names when counts differ: messages that got lost between a device and ClickHouse, in the real parts."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
import orjson
import polars as pl
import pytest
from confluent_kafka import Producer

from deploy.demo import trace
from deploy.embedded.stack import LocalStack, on_free_ports
from deploy.records_commands import record
from schemas.catalog import LIGHTS, READINGS
from schemas.registry import Registry
from streams import settings as module
from tests.integration.line import PATIENCE, Topics, Worker, wait

HEADRACE = str(Path(sys.executable).with_name("headrace"))


@pytest.fixture(scope="module")
def stack(recorded, tmp_path_factory):
    with LocalStack(on_free_ports(tmp_path_factory.mktemp("trace"))) as running:
        yield running.settings


@pytest.fixture
def ours(stack, monkeypatch):
    """The settings of this process, as those of a demo are."""
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    module.settings.cache_clear()
    yield stack
    module.settings.cache_clear()


@pytest.fixture(scope="module")
def warehouse(stack, tmp_path_factory):
    with Worker(stack, tmp_path_factory.mktemp("workers"), module="streams.warehouse") as worker:
        worker.wait_for("Worker ready")
        yield worker


@pytest.fixture
def ask(warehouse):
    return trace.asking(lambda path: f"http://127.0.0.1:{warehouse.port}{path}")


def send(stack, contract, *rows):
    frame = b"\0" + Registry(stack.registry, stack.data / "test-schemas").register(contract).to_bytes(4)
    producer = Producer({"bootstrap.servers": stack.kafka, "partitioner": "murmur2_random"})
    for row in rows:
        key, body = record(contract, 1, orjson.dumps(row))
        producer.produce(contract.topic, frame + body, key)
    assert producer.flush(PATIENCE) == 0


def stored(warehouse, table, count):
    def rows():
        try:
            return httpx.get(f"http://127.0.0.1:{warehouse.port}/warehouse/counts", timeout=30).json()["rows"][table]
        except httpx.HTTPError:
            return 0

    wait(lambda: rows() >= count, warehouse.tail, worker=warehouse)


def test_of_a_factory_each_reading_that_is_not_stored_is_named_with_where_it_was_last_seen(ours, warehouse, ask, tmp_path):
    since_ms = int(time.time() * 1000) - 3_600_000
    command = [HEADRACE, "simulate", "factory", "--to", "kafka", "--devices", "5", "--count", "300", "--sent", str(tmp_path / "sent")]
    subprocess.run(command, env=ours.environment(), check=True, capture_output=True)
    sent = pl.read_parquet(tmp_path / "sent")
    stored(warehouse, "readings", sent.filter(pl.col("fault").is_in(["sound", "disorder", "late"])).height)
    assert trace.of_factory(sent, since_ms, ask).rows() == []
    # hotter than a sensor can say: in Kafka, and not stored
    now = int(time.time() * 1000)
    send(ours, READINGS, {"device_id": "press-7", "sensor_type": "temperature", "value": 1e6, "timestamp": now})
    with closing(Topics(ours, "warehouse")) as topics:
        topics.wait_until_read(warehouse)
    row = {"device_id": "press-7", "sensor_type": "temperature", "sequence": 1, "timestamp": now, "fault": "sound", "acknowledged": True}
    lost = [row, row | {"sequence": 2, "timestamp": now + 2000}, row | {"sequence": 3, "timestamp": now + 4000, "acknowledged": False}]
    found = trace.of_factory(pl.concat([sent, pl.DataFrame(lost, schema=sent.schema)]), since_ms, ask)
    assert found["device"].to_list() == ["press-7"] * 3
    assert dict(found.select("sequence", pl.col("last_seen").str.replace(r"/\d@\d+", "/P@O")).iter_rows()) == {
        "1": "Kafka, factory.readings/P@O: it is not in ClickHouse",
        "2": "the MQTT broker, which acknowledged it",
        "3": trace.NOT_SENT,
    }


def test_of_a_city_each_message_that_is_missing_or_twice_is_named(ours, warehouse, ask):
    since_ms = int(time.time() * 1000) - 1000

    def envelope(device, sequence, number):
        return {
            "message_id": f"{device}-{sequence}-{number}",
            "device_id": device,
            "tenant_id": "city",
            "source_protocol": "http",
            "original_topic": f"lights/{device}/status",
            "ingestion_time": int(time.time() * 1000),
            "processing_time": int(time.time() * 1000),
            "data": orjson.dumps({"sequence": sequence, "on": True}).decode(),
            "data_type": "lighting",
            "metadata": {"qos": 1, "priority": "NORMAL", "gateway_node": "test"},
            "defect": "",
        }

    send(ours, LIGHTS, envelope("lamp-1", 0, 0), envelope("lamp-1", 1, 0), envelope("lamp-2", 0, 0), envelope("lamp-2", 0, 1))
    stored(warehouse, "messages", 4)
    sent = pl.DataFrame(
        [
            {"device_id": device, "protocol": protocol, "topic": "lights", "sequence": sequence, "acknowledged": acknowledged}
            for device, protocol, sequence, acknowledged in (
                ("lamp-1", "http", 0, True),
                ("lamp-1", "http", 1, True),
                ("lamp-1", "coap", 2, True),
                ("lamp-2", "mqtt", 0, True),
                ("lamp-2", "mqtt", 1, True),
                ("lamp-2", "mqtt", 2, False),
            )
        ]
    )
    found = trace.of_city(sent, since_ms, ask)
    named = {(row["device"], row["sequence"]): row["last_seen"] for row in found.iter_rows(named=True)}
    assert named.pop(("lamp-2", "0")).startswith("2 times in Kafka, first lighting.status.raw/")
    assert named == {
        ("lamp-1", "2"): "the gateway, which acknowledged it",
        ("lamp-2", "1"): "the MQTT broker, which acknowledged it",
        ("lamp-2", "2"): trace.NOT_SENT,
    }
