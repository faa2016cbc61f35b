import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

import streams
from deploy.embedded.preflight import free_ports
from deploy.embedded.processes import marks
from deploy.simulate.fleet import fleet
from schemas.catalog import READINGS
from streams.metrics import CATALOGUE
from tests.integration.line import PATIENCE

pytestmark = pytest.mark.long

# The factory worker with a watchdog that bears little.
IMPATIENT = """
import asyncio, time
from streams.factory import app, factory
from streams.watchdog import Limits, Watchdog

app.watchdog = Watchdog(app, Limits(tick_seconds=0.5, blocked_seconds=10, stalled_seconds=20))
"""
BLOCKED = """
@app.task
async def hold_the_loop():
    time.sleep(600)
"""
NEVER_DONE = """
from faust.tables.recovery import Recovery

async def never_done(*_, **__):
    await asyncio.Event().wait()

"""
STUCK = NEVER_DONE + "factory.take = never_done"
STUCK_IN_RECOVERY = NEVER_DONE + "Recovery.on_recovery_completed = never_done"
STUCK_IN_SHUTDOWN = NEVER_DONE + "factory.on_stop = never_done"


class Worker:
    """A worker process and its pages."""

    def __init__(self, stack, folder, module, changes):
        (port,) = free_ports(1)
        self.log = folder / f"{port}.log"
        command = [sys.executable, "-m", "faust", "-A", module, "worker", "-l", "info", "--web-port", str(port)]
        settings = stack.settings.model_copy(update={"data": folder, **changes})
        path = str(Path(streams.__file__).parents[1])
        environment = settings.environment(PYTHONPATH=path, **marks(stack.settings.data, f"worker-{port}"))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def get(self, page):
        """The answer; None while there is none."""
        assert self.process.poll() is None, self.log.read_text()[-4000:]
        try:
            return self.client.get(page)
        except httpx.TransportError:
            return None

    def ready(self):
        answer = self.get("/ready")
        return answer is not None and answer.status_code == 200

    def fails(self, check):
        """Whether the worker answers that it is not ready, and this is why."""
        answer = self.get("/ready")
        return answer is not None and answer.status_code == 503 and not answer.json()["checks"][check]["ok"]

    def metrics(self):
        """Samples by family."""
        return {family.name: family.samples for family in text_string_to_metric_families(self.get("/metrics").text)}

    def values(self, name):
        return [sample.value for sample in self.metrics()[name]]

    def ledger(self):
        """Records by outcome, over all partitions."""
        outcomes = Counter()
        for sample in self.metrics()["headrace_ledger_records"]:
            outcomes[sample.labels["outcome"]] += int(sample.value)
        return outcomes

    def drained(self):
        """Whether all partitions have their state, and nothing is left to read."""
        samples = self.metrics()
        known = [len(samples[f"headrace_{name}_offset"]) for name in ("fence", "consumer_end")]
        return known == [READINGS.partitions] * 2 and not any(sample.value for sample in samples["headrace_consumer_lag_records"])

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(stack, tmp_path):
    """Start a worker of the module's source, the factory's without."""
    workers = []

    def start(source=None, **settings):
        if source:
            (tmp_path / "worker_of_the_test.py").write_text(source)
        workers.append(Worker(stack, tmp_path, "worker_of_the_test" if source else "streams.factory", settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.client.close()
        worker.process.send_signal(signal.SIGTERM)  # so that it leaves the group: the next test's need not wait for its session to end
        try:
            worker.process.wait(20)
        except subprocess.TimeoutExpired:
            worker.end(signal.SIGKILL)


def until(condition, seconds=PATIENCE):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def simulate(stack, *options):
    """Send readings; what was sent, as the truth counts it."""
    truth = stack.settings.data / "truth.jsonl"
    command = [sys.executable, "-c", "from deploy.simulate.commands import app; app()", "factory", "--to", "kafka", "--truth", str(truth)]
    subprocess.run([*command, *map(str, options)], env=stack.settings.environment(), check=True, capture_output=True, timeout=PATIENCE)
    return httpx.Response(200, content=truth.read_bytes().splitlines()[0]).json()


def test_a_worker_is_live_and_ready_once_its_state_is_recovered_and_stops_cleanly(start):
    worker = start()
    until(worker.ready)
    checks = worker.get("/ready").json()["checks"]
    assert checks.keys() == {"kafka", "delivery", "assignment", "recovery", "lag", "schemas"}
    assert {f"{READINGS.topic}/{partition}" for partition in range(READINGS.partitions)} <= set(
        checks["assignment"]["detail"]["partitions"]
    )
    assert worker.get("/live").json()["live"]
    assert worker.end() == 0


def test_no_page_of_fausts_own_is_served(start):
    worker = start()
    until(worker.ready)
    assert "/ready" in worker.get("/").text
    assert {worker.get(page).status_code for page in ("/table/", "/table/readings-1m/", "/router/", "/graph/", "/stats/")} == {404}


def test_metrics_hold_the_whole_catalogue_no_device_and_a_ledger_that_adds_up(stack, start):
    worker = start()
    until(lambda: worker.ready() and worker.drained())
    before = worker.ledger()
    sent = simulate(stack, "--devices", 50, "--count", 30_000, "--faults", "duplicates=0.02,disorder=0.02,late=0.01,garbage=0.02")

    until(lambda: (worker.ledger() - before)["received"] == sent["sent"])
    until(worker.drained)
    added = worker.ledger() - before
    rejected = {outcome.removeprefix("rejected/"): records for outcome, records in added.items() if outcome.startswith("rejected/")}
    assert rejected == sent["rejects"]
    assert added["received"] == added["accepted"] + added["duplicate"] + added["late"] + sum(rejected.values())
    assert not any(worker.values("headrace_unsettled_records"))

    samples = worker.metrics()
    assert {metric.name.removesuffix("_total") for metric in CATALOGUE} <= samples.keys()
    labels = {value for family in samples.values() for sample in family for value in sample.labels.values()}
    assert not labels & set(fleet(50, 0)["device_id"])
    assert not any("press" in label or "plant" in label for label in labels)
    received = sum(s.value for s in samples["headrace_batch_records"] if s.name.endswith("_sum"))
    assert received >= sent["sent"]


def test_the_ledger_does_not_go_back_when_a_worker_is_killed(stack, start):
    first = start()
    until(lambda: first.ready() and first.drained())
    before = first.ledger()
    sent = simulate(stack, "--count", 20_000)
    until(lambda: (first.ledger() - before)["received"] > sent["sent"] / 2)
    seen = first.ledger()
    first.end(signal.SIGKILL)
    second = start()
    until(lambda: second.ready() and second.ledger())
    assert not seen - second.ledger(), "outcomes of which less is known than was shown before"
    until(lambda: (second.ledger() - before)["received"] == sent["sent"])


def test_before_its_assignment_a_worker_is_live_but_not_ready(start):
    first = start()
    until(first.ready)
    # A member that does not answer holds up the group until its session ends.
    first.process.send_signal(signal.SIGSTOP)
    second = start()
    until(lambda: second.fails("assignment"))
    assert second.get("/live").status_code == 200
    until(second.ready)
    first.process.send_signal(signal.SIGCONT)


def test_while_kafka_is_away_a_worker_is_live_but_not_ready_and_no_watchdog_ends_it(stack, start):
    worker = start(IMPATIENT)
    until(worker.ready)
    stack.kafka.kill()
    try:
        until(lambda: worker.fails("kafka"))
        assert worker.get("/live").status_code == 200
        assert not worker.values("headrace_stalled_seconds")
    finally:
        stack.kafka.start()
        stack.kafka.wait()
    until(worker.ready)


def test_a_partition_that_waits_for_a_schema_while_the_registry_is_away_is_no_hang(stack, start):
    worker = start(IMPATIENT)
    until(lambda: worker.ready() and worker.drained())
    before = worker.ledger()
    stack.registry.kill()
    try:
        producer = Producer({"bootstrap.servers": stack.settings.kafka})
        producer.produce(READINGS.topic, b"\x00\x7f\x00\x00\x01rest", b"device", 0)
        assert producer.flush(PATIENCE) == 0
        until(lambda: worker.fails("schemas"))
        assert sum(worker.values("headrace_parked_batches")) == 1
        until(lambda: any(worker.values("headrace_consumer_lag_records")))
        time.sleep(25)  # longer than this watchdog bears a stall
        assert worker.get("/live").status_code == 200
    finally:
        stack.registry.start()
        stack.registry.wait()
    until(lambda: worker.ready() and (worker.ledger() - before)["rejected/unknown-schema"] == 1)


def test_a_worker_that_was_suspended_for_longer_than_its_limits_goes_on(start):
    worker = start(IMPATIENT)
    until(worker.ready)
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(14)
    worker.process.send_signal(signal.SIGCONT)
    until(worker.ready)


def test_a_worker_whose_event_loop_is_blocked_dumps_all_stacks_and_exits_75(start):
    worker = start(IMPATIENT + BLOCKED)
    assert worker.process.wait(PATIENCE) == os.EX_TEMPFAIL
    log = worker.log.read_text()
    assert "watchdog: the event loop has not answered" in log
    assert "in hold_the_loop" in log
    assert log.count("(most recent call first)") >= 3, "stacks of all threads: this one, the watchdog's, the consumer's"


def test_a_partition_that_gets_no_further_dumps_all_stacks_and_exits_75(stack, start):
    worker = start(IMPATIENT + STUCK)
    until(worker.ready)
    simulate(stack, "--count", 2_000)
    assert worker.process.wait(PATIENCE) == os.EX_TEMPFAIL
    log = worker.log.read_text()
    assert f"watchdog: {READINGS.topic}/" in log
    assert ", in never_done" in log, "stacks of all tasks"


def test_a_recovery_that_does_not_end_exits_75(start):
    worker = start(IMPATIENT + STUCK_IN_RECOVERY)
    until(lambda: worker.fails("recovery"))
    assert worker.process.wait(PATIENCE) == os.EX_TEMPFAIL
    assert "watchdog: recovery has got no further" in worker.log.read_text()


def test_a_shutdown_that_does_not_end_exits_75(start):
    worker = start(IMPATIENT + STUCK_IN_SHUTDOWN)
    until(worker.ready)
    assert worker.end() == os.EX_TEMPFAIL
    assert "watchdog: shutdown has got no further" in worker.log.read_text()


def test_where_others_can_reach_it_a_worker_asks_for_the_token_for_all_but_live(start):
    worker = start(web_bind="0.0.0.0", web_token=SecretStr("s3cret"))
    until(lambda: worker.get("/live") is not None)
    for page in ("/ready", "/metrics", "/rules", "/no-such-page"):
        assert worker.get(page).status_code == 401
        assert "HEADRACE_WEB_TOKEN" in worker.get(page).json()["error"]
    worker.client.headers["Authorization"] = "Bearer guess"
    assert worker.get("/metrics").status_code == 401
    worker.client.headers["Authorization"] = "Bearer s3cret"
    until(worker.ready)
    assert worker.get("/metrics").status_code == 200


def test_where_others_can_reach_it_a_worker_without_a_token_does_not_start(start):
    worker = start(web_bind="0.0.0.0")
    assert worker.process.wait(PATIENCE) == 1
    assert "HEADRACE_WEB_TOKEN" in worker.log.read_text()
