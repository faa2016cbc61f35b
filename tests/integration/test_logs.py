"""A worker's log: what a person reads at three in the morning, and nothing else."""

import re
import time

import pytest

from tests.integration.line import Worker, under_load

pytestmark = pytest.mark.long

SECONDS = 360
"""Longer than Faust waits before it says that a partition gets no further."""


def problems(worker):
    """Lines that are no information."""
    return [line for line in worker.log.read_text().splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]


@pytest.mark.parametrize(("module", "seconds"), [("tests.integration.impatient_worker", 20), ("streams.factory", SECONDS)])
def test_a_healthy_worker_that_always_has_records_before_it_logs_no_problem(kafka, topics, tmp_path, module, seconds):
    with Worker(kafka, tmp_path, module=module) as worker:
        with under_load(kafka, "--devices", 200):
            worker.wait_for("lane_opened")
            time.sleep(seconds)
        topics.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()
    assert problems(worker) == []
