"""`headrace send` and `headrace read`, as a person uses them."""

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from confluent_kafka import Producer

from deploy.embedded.preflight import free_ports
from schemas.catalog import READINGS
from tests.integration.line import PATIENCE


@pytest.fixture
def headrace(kafka):
    """Runs the command; gives its exit code and what it says."""

    def run(*words, text="", **changes):
        command = [str(Path(sys.executable).with_name("headrace")), *words]
        environment = kafka.model_copy(update=changes).environment()
        done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=PATIENCE, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def line(device, **changes):
    reading = {"device_id": device, "sensor_type": "voltage", "value": 230, "timestamp": 1_780_000_000_000}
    return orjson.dumps(reading | changes).decode() + "\n"


def test_what_is_sent_is_read_with_defaults_filled_in_and_garbage_told_of(kafka, headrace):
    device = f"press-{uuid4().hex}"
    producer = Producer({"bootstrap.servers": kafka.kafka})
    producer.produce(READINGS.topic, b"garbage", device.encode())
    assert producer.flush(PATIENCE) == 0
    code, said, told = headrace("send", READINGS.topic, text=line(device) + "\n" + line(device, value=231.5))
    assert (code, said) == (0, f"2 sent to {READINGS.topic}\n"), told
    code, shown, told = headrace("read", READINGS.topic, "--minutes", "1", "--count", "2")
    assert code == 0, told
    readings = [orjson.loads(row) for row in shown.splitlines()]
    assert [(row["device_id"], row["value"], row["location"]) for row in readings] == [(device, 230.0, ""), (device, 231.5, "")]
    assert "bad-magic" in told


def test_of_lines_one_of_which_does_not_fit_none_is_sent(headrace):
    code, shown, told = headrace("send", READINGS.topic, text=line("a") + line("a", value="230"))
    assert (code, shown) == (1, "")
    assert told.startswith("line 2: ")


def test_a_topic_that_is_not_there_names_those_that_are(headrace):
    for command in ("send", "read"):
        code, _, told = headrace(command, "factory.reading")
        assert code == 1
        assert "factory.readings" in told.replace("\n", "")


def test_kafka_away_is_told_in_words(headrace):
    away = f"127.0.0.1:{free_ports(1)[0]}"
    for command in ("send", "read"):
        code, _, told = headrace(command, READINGS.topic, text=line("a"), kafka=away)
        assert code == 2, told
        assert "headrace doctor" in told
        assert "Traceback" not in told
