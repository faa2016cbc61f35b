"""What the pages about adding a sensor type, a rule and a domain say, followed word by word, does what it says."""

import sys
import time
from contextlib import closing

import httpx
import orjson
import pytest
from confluent_kafka import Producer

from deploy.records_commands import record
from schemas.catalog import ALERTS, DEAD_LETTERS, READINGS
from schemas.registry import Registry
from tests.integration.line import PATIENCE, Topics, Worker, http, wait
from tests.integration.walkthrough import ROOT, Reader

SENSOR_TYPE, RULE = "docs/how-to/add-a-sensor-type.md", "docs/how-to/add-a-rule.md"


@pytest.fixture(scope="module")
def reader(kafka, tmp_path_factory):
    with closing(Reader(kafka, tmp_path_factory.mktemp("newcomer") / "headrace")) as reader:
        yield reader


@pytest.fixture
def topics(kafka):
    with closing(Topics(kafka)) as topics:
        yield topics


@pytest.fixture
def worker(kafka, reader, tmp_path, monkeypatch):
    """Starts a worker of the reader's copy."""
    monkeypatch.setenv("PYTHONPATH", str(reader.folder))
    return lambda module: Worker(kafka, tmp_path, module=module, cwd=reader.folder)


def answer(worker, path):
    """A page of a worker; nothing while it does not answer."""
    try:
        return http.get(f"http://127.0.0.1:{worker.port}{path}", timeout=30).raise_for_status().json()
    except httpx.HTTPError:
        return {}


def is_in_force(worker, sensor_type):
    """Whether readings of an operator's sensor type that Kafka takes from now on are judged by it."""
    rows = answer(worker, "/sensors").get("domains", {}).get("factory", [])
    return any(row["name"] == sensor_type and row["in_force_at"] <= time.time() * 1000 for row in rows)


def send(kafka, *readings):
    """Readings of one machine, now, as (sensor type, value)."""
    frame = b"\0" + Registry(kafka.registry, kafka.data / "test-schemas").register(READINGS).to_bytes(4)
    producer = Producer({"bootstrap.servers": kafka.kafka, "partitioner": "murmur2_random"})
    for name, value in readings:
        reading = {"device_id": "press-1", "sensor_type": name, "value": value, "timestamp": int(time.time() * 1000)}
        key, body = record(READINGS, 1, orjson.dumps(reading))
        producer.produce(READINGS.topic, frame + body, key)
    assert producer.flush(PATIENCE) == 0


def test_a_domain_added_by_its_page_has_windows_alerts_and_rows(reader, topics, worker):
    assert "](docs/how-to/add-a-domain.md)" in (ROOT / "README.md").read_text()
    told = [
        orjson.loads(line) for line in reader.follow("docs/how-to/add-a-domain.md", "Add a domain").splitlines() if line.startswith("{")
    ]
    raised, cleared, window = told
    assert [(alert["rule"], alert["status"], alert["value"]) for alert in (raised, cleared)] == [
        ("high-water", "RAISED", 561.5),
        ("high-water", "CLEARED", 420),
    ]
    assert (window["device_id"], window["count"], window["mean"]) == ("quay-1", 1, 561.5)
    with worker("streams.warehouse") as warehouse:
        wait(lambda: answer(warehouse, "/warehouse/counts").get("rows", {}).get("levels") == 2, warehouse.tail, worker=warehouse)
        wait(lambda: answer(warehouse, "/warehouse/counts")["rows"]["level_windows"] >= 1, warehouse.tail, worker=warehouse)


def test_a_sensor_type_and_rules_added_by_their_pages_are_judged_by(kafka, reader, topics, worker):
    reader.follow(SENSOR_TYPE, "In the code")
    reader.follow(RULE, "In the code")
    make, apply, retire = reader.steps(RULE, "Without a restart")
    reader.do(make)
    with worker("streams.factory") as factory:
        assert "near-critical" in reader.do(apply)
        wait(lambda: "near-critical" in str(answer(factory, "/rules")), factory.tail, worker=factory)
        send(kafka, ("noise", 120), ("noise", 141), ("voltage", 195), ("temperature", 140))
        topics.wait_until_read(factory)
        alerts = topics.frame(ALERTS).filter(domain="factory", status="RAISED")
        assert set(alerts.select("rule", "subject").iter_rows()) == {
            ("above-critical", "noise"),
            ("near-critical", "noise"),
            ("low-voltage", "voltage"),
            ("near-critical", "temperature"),
        }
        (letter,) = topics.frame(DEAD_LETTERS).iter_rows(named=True)
        assert letter["detail"] == "noise is 141.0, not within 0.0 to 140.0"
        reader.do(retire)
        wait(lambda: "'retired': True" in str(answer(factory, "/rules")), factory.tail, worker=factory)
        send(kafka, ("temperature", 149))
        topics.wait_until_read(factory)
        assert topics.frame(ALERTS).filter(rule="near-critical", status="CLEARED")["subject"].to_list() == ["temperature"]
        make, apply, retire = reader.steps(SENSOR_TYPE, "Without a restart")
        reader.do(make)
        assert "flow" in reader.do(apply)
        wait(lambda: is_in_force(factory, "flow"), factory.tail, worker=factory)
        send(kafka, ("flow", 360))
        topics.wait_until_read(factory)
        assert topics.frame(ALERTS).filter(subject="flow")["rule"].to_list() == ["above-critical"]
        reader.do(retire)
    reader.run("headrace simulate factory --devices 1 --count 7 --to kafka --faults none")
    assert "noise" in topics.frame(READINGS).filter(device_id="plant-1.press-0000")["sensor_type"].to_list()


def test_the_tests_hold_for_what_was_added(reader):
    tests = ["tests/test_architecture.py", *(f"tests/unit/test_{name}.py" for name in ("agents_factory_domain", "deploy_simulate"))]
    assert " passed" in reader.run(f"{sys.executable} -m pytest -q -p no:cacheprovider {' '.join(tests)}")
