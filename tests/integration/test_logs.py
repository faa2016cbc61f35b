"""A worker's log: what a person reads at three in the morning, and nothing else."""

import re
import time

import orjson
import pytest

from tests.integration.line import PATIENCE, Worker, under_load, wait

pytestmark = pytest.mark.long

SECONDS = 360
"""Longer than Faust waits before it says that a partition gets no further."""


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR|CRITICAL) \S.*")


def lines(worker):
    return worker.log.read_text().splitlines()


def problems(worker):
    """Lines that are no information."""
    return [line for line in lines(worker) if not re.match(r"\S+ INFO ", line)]


@pytest.mark.parametrize(("module", "seconds"), [("tests.integration.impatient_worker", 20), ("streams.factory", SECONDS)])
def test_a_healthy_worker_that_always_has_records_before_it_logs_no_problem(kafka, topics, tmp_path, module, seconds):
    with Worker(kafka, tmp_path, module=module) as worker:
        with under_load(kafka, "--devices", 200):
            worker.wait_for("lane_opened")
            time.sleep(seconds)
        topics.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()
    assert problems(worker) == []


def test_a_start_and_a_stop_are_some_lines_of_an_event_each(kafka, topics, tmp_path):
    with Worker(kafka, tmp_path) as worker:
        wait(lambda: worker.log.read_text().count("lane_opened") == 4, worker.tail, worker=worker)
        assert worker.stop() == 0, worker.tail()
    assert [line for line in lines(worker) if not LINE.fullmatch(line)] == []
    assert problems(worker) == []
    assert len(lines(worker)) <= 20


def test_a_log_is_a_json_object_a_line_where_the_settings_say_so(kafka, topics, tmp_path):
    with Worker(kafka.model_copy(update={"log_format": "json"}), tmp_path) as worker:
        worker.wait_for("lane_opened")
        assert worker.stop() == 0, worker.tail()
    told = [orjson.loads(line) for line in lines(worker)]
    assert all({"time", "level", "logger", "message"} <= event.keys() for event in told)
    assert any("lane_opened topic=factory.readings" in event["message"] for event in told)


def test_a_taken_web_port_is_one_sentence(kafka, topics, tmp_path):
    with Worker(kafka, tmp_path) as first:
        first.wait_for("lane_opened")
        with Worker(kafka, tmp_path, port=first.port) as second:
            assert second.process.wait(timeout=PATIENCE) == 1
    (line,) = lines(second)
    assert line.startswith(f"127.0.0.1:{first.port} is taken: ")
    assert "--web-port" in line


def test_an_absence_of_kafka_is_told_once_and_its_return_once(own_stack, kafka, topics, tmp_path):
    with Worker(kafka, tmp_path) as worker:
        worker.wait_for("lane_opened")
        own_stack.kafka.kill()
        worker.wait_for("is away since")
        time.sleep(20)
        own_stack.kafka.start()
        own_stack.kafka.wait()
        worker.wait_for("is back after")
        assert worker.stop() == 0, worker.tail()
    told = lines(worker)
    assert [line for line in told if not LINE.fullmatch(line)] == []
    assert sum("is away since" in line for line in told) == sum("is back after" in line for line in told) == 1
    assert len(problems(worker)) < 60
