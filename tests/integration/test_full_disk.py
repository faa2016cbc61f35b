"""A disk that fills up under Kafka's log stops the line, which says so, and costs no record.

The disk is the broker's limit on the size of a file (RLIMIT_FSIZE), as that needs no mount: what a write above it gets is an error of
input and output like that of a full disk, and half of a record may have been written.
"""

from contextlib import closing

import httpx
import psutil
import pytest

from deploy.embedded.stack import LocalStack, on_free_ports
from tests.integration.line import Topics, Worker, actual, assert_equal, under_load, undisturbed, wait


@pytest.fixture
def stack(tmp_path):
    with LocalStack(on_free_ports(tmp_path / "stack"), ("kafka", "registry")) as stack:
        yield stack


def fill(kafka, spare=50_000):
    """Leave room for so many bytes more in the broker's largest file: a segment, or what it says of it."""
    largest = max(file.stat().st_size for file in [kafka.log, *kafka.folder.rglob("*.log")])
    kafka.process.rlimit(psutil.RLIMIT_FSIZE, (largest + spare, psutil.RLIM_INFINITY))


def says(worker):
    """Whether it is live, and the checks that fail."""
    with httpx.Client(base_url=f"http://127.0.0.1:{worker.port}", timeout=30) as client:
        checks = client.get("/ready").json()["checks"]
        return client.get("/live").is_success, {name for name, state in checks.items() if not state["ok"]}


def test_a_full_disk_under_kafkas_log_stops_the_line_which_says_so_and_costs_no_record(stack, tmp_path):
    settings = stack.settings
    with closing(Topics(settings)) as topics, Worker(settings, tmp_path) as worker:
        with under_load(settings, "--devices", 100, "--rate", 2_000):
            wait(lambda: all(topics.committed().values()), lambda: f"committed {topics.committed()}", worker=worker)
            fill(stack.kafka)
            wait(lambda: not stack.kafka.running, lambda: "the broker bears the full disk", worker=worker)
            assert "all log dirs" in stack.kafka.tail()
            # what it had sent waits, too
            wait(lambda: says(worker) == (True, {"kafka", "delivery"}), lambda: f"says {says(worker)}", worker=worker)
            stack.kafka.start()  # with room again
            stack.kafka.wait()
        topics.wait_until_read(worker)
        wait(lambda: says(worker) == (True, set()), lambda: f"says {says(worker)}", worker=worker)
        assert worker.stop() == 0, worker.tail()
        assert_equal(actual(settings, topics), undisturbed(settings, topics))
