"""What is in the topics is in ClickHouse, once, whatever happens to the worker or to ClickHouse on the way."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import polars as pl
import psutil
import pytest
from confluent_kafka import TopicPartition
from filelock import FileLock

from bench.jobs import WAREHOUSE, fresh
from deploy.embedded.preflight import free_ports
from schemas.catalog import ALERTS, CITY_READINGS, DEAD_LETTERS, READINGS, STORED, WINDOWS
from schemas.rejects import Reason
from streams.clickhouse import ClickHouse
from tests.integration import clickhouse_server
from tests.integration.line import PATIENCE, Topics, Worker, produce, sample, wait

SENSORS = ["temperature", "pressure", "vibration", "current", "voltage", "humidity"]
YEAR_2150 = 5_680_281_600_000
METADATA = {"production_line": "line-1", "shift": "early"}


@pytest.fixture
def topics(kafka):
    fresh(kafka, WAREHOUSE, keep_readings=False)
    with closing(Topics(kafka, WAREHOUSE.group)) as topics:
        yield topics


@pytest.fixture
def settings(kafka, tmp_path, topics):
    """Settings of a warehouse of the test's own; its database is under `data`, its lock tells other sessions not to clear it away."""
    with FileLock(tmp_path / "stack.lock"):
        yield kafka.model_copy(update={"data": tmp_path})


class Server:
    """ClickHouse as a server; see `clickhouse_server.py`."""

    def __init__(self, data):
        self.data = data
        (self.port,) = free_ports(1)
        self.dsn = f"clickhouse://127.0.0.1:{self.port}/default"

    @contextmanager
    def running(self):
        command = [sys.executable, clickhouse_server.__file__, str(self.port), str(self.data / "server")]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait(self._answers, lambda: "the server does not answer")
            yield self
        finally:
            self.process.kill()
            self.process.wait()

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def worker(settings):
    return Worker(settings, settings.data, module="streams.warehouse")


def finish(settings, topics, running=None):
    """Let a worker read to the end, and stop it as an operator does."""
    with running or worker(settings) as running:
        for contract in STORED:
            topics.wait_until_read(running, contract.topic)
        assert running.stop() == 0, running.tail()


def rows(settings, table, what="*", final="FINAL"):
    with closing(ClickHouse(settings.clickhouse, settings.data / "clickhouse")) as clickhouse:
        return clickhouse.query(f"SELECT {what} FROM {table} {final} ORDER BY ALL")


def readings(count, devices=50, start=None):
    """Of so many devices in turn, a millisecond apart, the last one now."""
    start = start or int(time.time() * 1000) - count
    number = pl.int_range(count, eager=True)
    return pl.DataFrame(
        {
            "device_id": pl.select(pl.format("press-{}", number % devices)).to_series(),
            "sensor_type": pl.Series(SENSORS).gather(number % 6),
            "value": 1.0 + (number % 400) / 10 + 189 * (number % 6 == 4).cast(pl.Int64),
            "timestamp": start + number,
            "location": pl.repeat("hall-1", count, eager=True),
            "metadata": pl.Series([METADATA], dtype=READINGS.codec.columns["metadata"]).new_from_index(0, count),
            "plant": pl.repeat("plant-1", count, eager=True),
        }
    )


def stored_as(frame):
    return frame.select("device_id", "sensor_type", "value", pl.col("timestamp").cast(pl.Int64)).sort(pl.all())


def assert_stored(settings, expected):
    ours = stored_as(rows(settings, "readings", "device_id, sensor_type, value, toUnixTimestamp64Milli(timestamp) AS timestamp"))
    assert ours.height == expected.height
    assert ours.equals(stored_as(expected))


def ask(running, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}{path}") as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def clickhouse_ready(running):
    return ask(running, "/ready")[1]["checks"]["clickhouse"]["ok"]


def test_rows_of_all_topics_are_stored_and_counted_and_acknowledged(kafka, settings, topics):
    load = readings(5_000)
    produce(kafka, READINGS, load)
    others = [(contract, contract.key or "detail") for contract in STORED if contract is not READINGS]
    for contract, key in others:
        known = {"sensor_type": "pm25"} if contract is CITY_READINGS else {}
        produce(kafka, contract, sample(contract, 30, **known), key=key)
    with worker(settings) as running:
        for contract in STORED:
            topics.wait_until_read(running, contract.topic)
        wait(lambda: ask(running, "/ready")[0] == 200, lambda: f"not ready: {ask(running, '/ready')}", worker=running)
        _, counts = ask(running, "/warehouse/counts")
        history = ask(running, "/api/history?device=press-0&sensor=temperature&step_seconds=3600")
        trace = ask(running, "/api/traceability?line=line-1&limit=7")
        wrong = ask(running, "/api/history?device=press-0&step_seconds=soon")
        _, described = ask(running, "/openapi.json")
        assert running.stop() == 0, running.tail()
    of_press = load.filter(device_id="press-0", sensor_type="temperature")
    assert (history[0], sum(point["readings"] for point in history[1]["points"])) == (200, of_press.height)
    assert (trace[0], len(trace[1]["readings"]), trace[1]["next"], trace[1]["shifts"]) == (200, 7, 7, ["early"])
    assert wrong[0] == 400
    assert [problem["field"] for problem in wrong[1]["problems"]] == ["sensor", "step_seconds"]
    of_city = {f"/api/city/{name}" for name in ("history", "districts", "lights", "parking", "messages")}
    assert {"/api/history", "/api/traceability", "/api/rollups", "/warehouse/counts", *of_city} == described["paths"].keys()
    assert counts["rows"] == {READINGS.sink: 5_000, **{contract.sink: 30 for contract, _ in others}}
    assert counts["ledger"][READINGS.topic] == {"received": 5_000, "stored": 5_000}
    assert_stored(settings, load)
    for contract, _ in others:
        names = [
            f"{f'hex({name})' if dtype == pl.Binary else name} AS c{n}" for n, (name, dtype) in enumerate(contract.codec.columns.items())
        ]
        assert rows(settings, contract.sink, ", ".join(names)).height == 30


def test_what_is_repeated_and_what_is_read_again_is_one_row(kafka, settings, topics):
    load, window, alerts = readings(5_000), sample(WINDOWS, 1), sample(ALERTS, 3)
    produce(kafka, READINGS, pl.concat([load, load.head(1_000)]))
    revisions = [window.with_columns(revision=pl.lit(n, pl.Int64), mean=pl.lit(float(n))) for n in (2, 3, 1)]
    produce(kafka, WINDOWS, pl.concat(revisions))
    produce(kafka, ALERTS, pl.concat([alerts, alerts]))
    finish(settings, topics)
    first = rows(settings, "readings")
    topics.consumer.commit(offsets=[TopicPartition(c.topic, p, 0) for c in STORED for p in range(c.partitions)], asynchronous=False)
    finish(settings, topics)
    assert_stored(settings, load)
    assert rows(settings, "readings").equals(first)
    assert rows(settings, "windows", "mean")["mean"].to_list() == [3.0]
    assert rows(settings, "alerts").height == 3


def test_killed_in_mid_load_it_stores_every_row_once(kafka, settings, topics):
    load = readings(450_000, devices=1_000)
    for part in load.iter_slices(150_000):
        produce(kafka, READINGS, part)
        with worker(settings) as running:
            before = topics.committed()
            wait(lambda before=before: topics.committed() != before, lambda: "nothing is committed", worker=running)
            time.sleep(random.uniform(0, 1))
            running.kill()
    finish(settings, topics)
    assert_stored(settings, load)


def test_rows_that_clickhouse_refuses_are_dead_lettered_and_all_others_stored(kafka, settings, topics):
    produce(kafka, WINDOWS, sample(WINDOWS, 3_000))
    produce(kafka, WINDOWS, sample(WINDOWS, 2, window_start=YEAR_2150))
    produce(kafka, WINDOWS, sample(WINDOWS, 3_000, sensor_type="y"))
    with worker(settings) as running:
        topics.wait_until_read(running, WINDOWS.topic)
        topics.wait_until_read(running, DEAD_LETTERS.topic)
        _, counts = ask(running, "/warehouse/counts")
        assert running.stop() == 0, running.tail()
    assert counts["ledger"][WINDOWS.topic] == {"received": 6_002, "stored": 6_000, f"rejected/{Reason.SINK_REFUSED}": 2}
    assert rows(settings, "windows").height == 6_000
    letters = rows(settings, "dead_letters", "reason, topic, detail, stored_at > now() - 600 AS new")
    assert letters.select("reason", "topic", "new").rows() == [(Reason.SINK_REFUSED, WINDOWS.topic, True)] * 2
    assert all("window_start_in_range" in detail for detail in letters["detail"])


def test_garbage_is_dead_lettered_unless_the_factory_worker_does_so(kafka, settings, topics):
    windows = sample(WINDOWS, 5)
    produce(kafka, WINDOWS, windows, values=[b"garbage"] * 5)
    produce(kafka, WINDOWS, windows)
    produce(kafka, READINGS, readings(5), values=[b"garbage"] * 5)
    finish(settings, topics)
    assert rows(settings, "windows").height == 5
    assert rows(settings, "readings").height == 0
    letters = rows(settings, "dead_letters", "reason, topic, hex(value) AS value")
    assert letters.rows() == [(Reason.BAD_MAGIC, WINDOWS.topic, b"garbage".hex().upper())] * 5


def test_while_clickhouse_is_away_nothing_is_acknowledged_and_once_it_is_found_every_row_arrives(kafka, settings, topics):
    load = readings(100_000)
    produce(kafka, READINGS, load)
    server = Server(settings.data)
    elsewhere = settings.model_copy(update={"clickhouse": f"clickhouse://127.0.0.1:{free_ports(1)[0]}/default"})
    with worker(elsewhere) as running:
        running.wait_for("clickhouse_awaited table=readings")
        status, ready = ask(running, "/ready")
        assert status == 503
        assert not ready["checks"]["clickhouse"]["ok"]
        assert running.stop() == 0, running.tail()
        assert "left_unstored table=readings" in running.log.read_text()
    assert set(topics.committed().values()) == {0}
    there = settings.model_copy(update={"clickhouse": server.dsn})
    with server.running():
        finish(there, topics)
        assert_stored(there, load)


def test_clickhouse_killed_suspended_and_started_again_holds_the_worker_up_and_loses_nothing(kafka, settings, topics):
    load = readings(200_000)
    server = Server(settings.data)
    there = settings.model_copy(update={"clickhouse": server.dsn})
    with worker(there) as running:
        with server.running():
            produce(kafka, READINGS, load.head(100_000))
            wait(lambda: any(topics.committed().values()), lambda: "nothing is committed", worker=running)
        # with nothing to store
        wait(lambda: not clickhouse_ready(running), lambda: "it says that ClickHouse is there", worker=running)
        produce(kafka, READINGS, load.tail(100_000))
        running.wait_for("clickhouse_awaited table=readings")
        with server.running():
            server.process.send_signal(signal.SIGSTOP)
            time.sleep(3)
            server.process.send_signal(signal.SIGCONT)
            finish(there, topics, running)
            assert_stored(there, load)


def test_a_full_disk_under_clickhouse_holds_the_worker_up_and_no_row_is_blamed_for_it(kafka, settings, topics):
    load = readings(200_000)
    with worker(settings) as running:
        running.wait_for("Worker ready")
        # what a write above the limit gets is an error of input and output, as on a full disk
        psutil.Process(running.process.pid).rlimit(psutil.RLIMIT_FSIZE, (200_000, psutil.RLIM_INFINITY))
        produce(kafka, READINGS, load)
        running.wait_for("clickhouse_awaited table=readings")
        wait(lambda: not clickhouse_ready(running), lambda: "it says that ClickHouse takes rows", worker=running)
        assert ask(running, "/live")[0] == 200
        psutil.Process(running.process.pid).rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        topics.wait_until_read(running)
        wait(lambda: clickhouse_ready(running), lambda: "it does not say that ClickHouse is there", worker=running)
        _, counts = ask(running, "/warehouse/counts")
        assert running.stop() == 0, running.tail()
    assert counts["ledger"][READINGS.topic] == {"received": 200_000, "stored": 200_000}
    assert_stored(settings, load)


def test_two_workers_share_a_server_and_one_finishes_what_the_other_was_killed_at(kafka, settings, topics):
    load = readings(200_000)
    server = Server(settings.data)
    there = settings.model_copy(update={"clickhouse": server.dsn})
    with server.running():
        with worker(there) as first, worker(there) as second:
            produce(kafka, READINGS, load.head(100_000))
            first.wait_for("Worker ready")
            second.wait_for("Worker ready")
            produce(kafka, READINGS, load.tail(100_000))
            wait(lambda: all(topics.committed().values()), lambda: f"committed {topics.committed()}", worker=first)
            first.kill()
            finish(there, topics, second)
        assert_stored(there, load)


def test_a_second_worker_of_the_embedded_engine_does_not_start(kafka, settings, topics):
    with worker(settings) as first:
        first.wait_for("Worker ready")
        with worker(settings) as second:
            assert second.process.wait(timeout=PATIENCE) == 1
            assert "second warehouse worker" in second.log.read_text()
        assert first.stop() == 0, first.tail()
