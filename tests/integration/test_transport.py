"""The transport against the real broker: what is delivered, what is committed, and what survives when any part of it fails."""

import re
import time
from collections import defaultdict
from contextlib import closing

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.cimpl import NewTopic

from bench.jobs import OURS, delete_group, fresh
from schemas.catalog import READINGS, WINDOWS
from tests.integration import transport_app
from tests.integration.line import CHANGELOG, PATIENCE, Topics, Worker, actual, assert_equal, simulate, under_load, undisturbed, wait
from tests.integration.transport_app import ECHO, FAIL, FLICKER, HOLD, LATER, ORDERS, PARTITIONS, SUMS, SUMS_CHANGELOG

pytestmark = pytest.mark.long

BATCHES = transport_app.BATCHES.topic
FAULTS = "duplicates=0.02,disorder=0.05,late=0.005,garbage=0.01"

# What Kafka's own `Utils.murmur2` makes of these keys (its UtilsTest).
JAVA_MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


class Patient(Topics):
    """Asks again while the broker is away, or has just come back."""

    def committed(self, topic=READINGS.topic):
        return self.patiently(super().committed, topic)

    def ends(self, topic=READINGS.topic):
        return self.patiently(super().ends, topic)

    def patiently(self, ask, topic):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return ask(topic)
            except KafkaException:
                assert time.monotonic() < deadline
                time.sleep(0.2)


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.kafka, "log_level": 0})


@pytest.fixture
def topics(kafka):
    """The factory's topics, empty."""
    fresh(kafka, OURS, keep_readings=False)
    with closing(Patient(kafka)) as topics:
        yield topics


@pytest.fixture
def apart(kafka, admin):
    """The topics of `transport_app`, empty."""
    delete_group(admin, "transport")
    configs = {name: {} for name in (BATCHES, ECHO, ORDERS, SUMS)} | {SUMS_CHANGELOG: {"cleanup.policy": "compact"}}
    there = [name for name in configs if name in admin.list_topics(timeout=10).topics]
    for deleted in (admin.delete_topics(there, operation_timeout=30) if there else {}).values():
        deleted.result()
    wait(lambda: not set(there) & admin.list_topics(timeout=10).topics.keys(), lambda: "topics are still there")
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config) for name, config in configs.items()]).values():
        created.result()
    with closing(Patient(kafka, "transport")) as topics:
        yield topics


def worker_apart(kafka, folder):
    return Worker(kafka, folder, module=transport_app.__name__)


def produce(kafka, topic, values, partition=0, keys=None, **options):
    producer = Producer({"bootstrap.servers": kafka.kafka, "log_level": 0, "partitioner": "murmur2_random", **options})
    for number, value in enumerate(values):
        producer.produce(topic, value, keys[number] if keys else None, partition=-1 if keys else partition)
    assert producer.flush(PATIENCE) == 0


def configure(admin, kind, name, **changes):
    """Change settings of a topic or a broker; underscores stand for points."""
    entries = [
        ConfigEntry(key.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET) for key, value in changes.items()
    ]
    for altered in admin.incremental_alter_configs([ConfigResource(kind, name, incremental_configs=entries)]).values():
        altered.result()


def numbers(*span):
    return [b"%d" % number for number in range(*span)]


def values_of(topics, topic, partition=0):
    return topics.read(topic)[partition].values


def test_an_ordinary_agent_and_its_table_work_beside_a_batch_agent(kafka, apart, tmp_path):
    orders = [(key, amount) for amount in range(1, 101) for key in JAVA_MURMUR2]
    expected = dict.fromkeys(JAVA_MURMUR2, sum(range(1, 101)))
    for times in (1, 2):  # the second time with the table recovered
        with worker_apart(kafka, tmp_path) as worker:
            produce(kafka, ORDERS, [b"%d" % amount for _, amount in orders], keys=[key for key, _ in orders])
            apart.wait_until_read(worker, ORDERS)
            assert worker.stop() == 0, worker.tail()
        latest = {}
        for partition, batch in apart.read(SUMS).items():
            for key, value in zip(batch.keys, batch.values, strict=True):
                latest[key] = int(value)
                assert partition == (JAVA_MURMUR2[key] & 0x7FFFFFFF) % PARTITIONS
        assert latest == {key: times * total for key, total in expected.items()}
    changelog = {key: partition for partition, batch in apart.read(SUMS_CHANGELOG).items() for key in batch.keys}
    assert changelog == {key: (murmur & 0x7FFFFFFF) % PARTITIONS for key, murmur in JAVA_MURMUR2.items()}


def test_partitions_that_are_paused_and_resumed_lose_nothing(kafka, apart, tmp_path):
    load = numbers(50_000)
    keys = list(JAVA_MURMUR2)
    with worker_apart(kafka, tmp_path) as worker:
        worker.wait_for("Worker ready")
        produce(kafka, BATCHES, [FLICKER])
        for partition in range(PARTITIONS):
            produce(kafka, BATCHES, load, partition)
        produce(kafka, ORDERS, [b"1"] * 6_000, keys=keys * 1_000)
        apart.wait_until_read(worker, BATCHES)
        apart.wait_until_read(worker, ORDERS)
        assert worker.stop() == 0, worker.tail()
    assert [values_of(apart, ECHO, partition) for partition in range(PARTITIONS)] == [[FLICKER, *load], load, load, load]
    sums = defaultdict(list)
    for batch in apart.read(SUMS).values():
        for key, value in zip(batch.keys, batch.values, strict=True):
            sums[key].append(int(value))
    assert sums == {key: list(range(1, 1_001)) for key in keys}


def test_nothing_is_committed_past_a_batch_that_is_still_worked_on(kafka, apart, tmp_path):
    with worker_apart(kafka, tmp_path) as worker:
        produce(kafka, BATCHES, numbers(10))
        apart.wait_until_read(worker, BATCHES)
        for values in ([HOLD], numbers(10, 2_000)):
            produce(kafka, BATCHES, values)
            produce(kafka, BATCHES, values[1:], partition=1)
            wait(lambda: apart.ends(ECHO)[0] == apart.ends(BATCHES)[0], worker.tail, worker=worker)
        wait(lambda: apart.committed(BATCHES)[1] == apart.ends(BATCHES)[1], worker.tail, worker=worker)
        assert worker.stop() == 0, worker.tail()
    assert apart.committed(BATCHES)[0] == 10
    with worker_apart(kafka, tmp_path) as successor:
        wait(lambda: apart.ends(ECHO)[0] == 2 * apart.ends(BATCHES)[0] - 10, successor.tail, worker=successor)
    assert values_of(apart, ECHO) == numbers(10) + 2 * [HOLD, *numbers(10, 2_000)]


def test_an_agent_that_raises_ends_the_worker_and_its_batch_is_read_again(kafka, apart, tmp_path):
    with worker_apart(kafka, tmp_path) as worker:
        produce(kafka, BATCHES, numbers(10))
        apart.wait_until_read(worker, BATCHES)
        produce(kafka, BATCHES, [FAIL])
        produce(kafka, BATCHES, numbers(10, 1_000))
        assert worker.process.wait(timeout=PATIENCE) > 0, worker.tail()
    assert apart.committed(BATCHES)[0] == 10


def test_what_could_not_be_committed_is_committed_later_though_no_record_follows(own_stack, kafka, apart, tmp_path):
    with worker_apart(kafka, tmp_path) as worker:
        worker.wait_for("Worker ready")
        produce(kafka, BATCHES, [LATER])
        wait(lambda: apart.ends(ECHO)[0] == 1, worker.tail, worker=worker)
        own_stack.kafka.kill()
        try:
            worker.wait_for("acknowledged after the broker was killed")
        finally:
            own_stack.kafka.start()
            own_stack.kafka.wait()
        apart.wait_until_read(worker, BATCHES)
        assert worker.stop() == 0, worker.tail()


def test_transactions_pass_through_their_markers_left_out(kafka, apart, tmp_path):
    producer = Producer({"bootstrap.servers": kafka.kafka, "transactional.id": "transport", "log_level": 0})
    producer.init_transactions()
    for number, end in enumerate([producer.commit_transaction, producer.abort_transaction] * 3):
        producer.begin_transaction()
        for value in numbers(number * 100, (number + 1) * 100):
            producer.produce(BATCHES, value, partition=0)
        producer.flush(PATIENCE)
        end()
    with worker_apart(kafka, tmp_path) as worker:
        wait(lambda: apart.committed(BATCHES)[0] == 605, worker.tail, worker=worker)  # up to the last marker
        assert worker.stop() == 0, worker.tail()
    assert values_of(apart, ECHO) == numbers(600)


def test_a_compacted_log_passes_through_its_gaps_left_out(kafka, apart, admin, tmp_path):
    configure(admin, ConfigResource.Type.BROKER, "1", log_cleaner_backoff_ms=100)
    configure(
        admin,
        ConfigResource.Type.TOPIC,
        BATCHES,
        cleanup_policy="compact",
        segment_ms=100,
        min_cleanable_dirty_ratio=0.01,
        min_compaction_lag_ms=0,
    )
    keys = [b"%d" % (number % 70) for number in range(5_000)]
    for start in range(0, 5_000, 250):
        produce(kafka, BATCHES, numbers(start, start + 250), keys=keys[start : start + 250], **{"batch.num.messages": 50})
        time.sleep(0.02)
    produce(kafka, BATCHES, [b"rolls the segment"] * PARTITIONS)

    def compacted():
        time.sleep(0.5)
        produce(kafka, BATCHES, [b"rolls the segment"], keys=[b"again"])
        return sum(len(batch) for batch in apart.read(BATCHES).values()) < 4_000

    wait(compacted, lambda: "nothing was compacted")
    left = {partition: batch.values for partition, batch in apart.read(BATCHES).items()}
    with worker_apart(kafka, tmp_path) as worker:
        apart.wait_until_read(worker, BATCHES)
        assert worker.stop() == 0, worker.tail()
    assert {partition: batch.values for partition, batch in apart.read(ECHO).items()} == left


def loaded(kafka, count):
    assert simulate(kafka, "--devices", 100, "--count", count, "--faults", FAULTS).wait(timeout=PATIENCE) == 0


def finish(kafka, topics, folder):
    with Worker(kafka, folder) as worker:
        worker.wait_for("lane_opened")
        topics.wait_until_read(worker)
        assert worker.stop() == 0, worker.tail()


def test_a_restarted_worker_takes_up_its_state_where_its_last_checkpoint_ends(kafka, topics, tmp_path):
    loaded(kafka, 50_000)
    finish(kafka, topics, tmp_path)
    committed = topics.committed()
    with Worker(kafka, tmp_path) as worker:
        wait(lambda: worker.log.read_text().count("lane_opened") == len(committed), worker.tail, worker=worker)
        fences = re.findall(r"lane_opened topic=\S+ partition=(\d) fence=(\d+)", worker.log.read_text())
        assert {int(partition): int(fence) for partition, fence in fences} == committed
        assert worker.stop() == 0, worker.tail()
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))


def table(log, title):
    """Offsets by partition of the last table of that title which Faust's recovery logged."""
    rows = log.rpartition(f"+{title}")[2].partition("\n")[0]
    return {int(partition): int(offset) for partition, offset in re.findall(r"\| (\d+) +\| (-?\d+) +\|", rows)}


def test_a_standby_takes_over_with_the_state_already_there(kafka, topics, tmp_path):
    with Worker(kafka, tmp_path) as first:
        first.wait_for("lane_opened")
        with Worker(kafka, tmp_path, level="debug") as second:
            second.wait_for("lane_opened")
            loaded(kafka, 60_000)
            topics.wait_until_read(second)
            standby = table(second.log.read_text(), "Reading Starts At - Standby")
            first.kill()
            wait(lambda: len(table(second.log.read_text(), "Reading Starts At - Active")) == PARTITIONS, second.tail, worker=second)
            loaded(kafka, 20_000)
            topics.wait_until_read(second)
            assert second.stop() == 0, second.tail()
    log = second.log.read_text()
    start, end = table(log, "Reading Starts At - Active"), table(log, "Highwater - Active")
    assert len(standby) == PARTITIONS / 2
    assert min(end.values()) > 0
    assert {partition: start[partition] for partition in standby} == {partition: end[partition] for partition in standby}
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))


def test_a_standby_whose_own_partitions_always_have_records_is_within_a_second_of_its_leader(kafka, topics, tmp_path):
    with Worker(kafka, tmp_path) as first:
        first.wait_for("lane_opened")
        with Worker(kafka, tmp_path, level="debug") as second, under_load(kafka, "--devices", 500):
            second.wait_for("lane_opened")
            time.sleep(20)
            first.kill()
            wait(lambda: len(table(second.log.read_text(), "Reading Starts At - Active")) == PARTITIONS, second.tail, worker=second)
            log = second.log.read_text()
    start, end = table(log, "Reading Starts At - Active"), table(log, "Highwater - Active")
    standby = table(log, "Reading Starts At - Standby")
    written = topics.read(CHANGELOG)
    assert standby
    for partition in standby:
        batch = written[partition]
        times = [at for at, offset in zip(batch.timestamps, batch.offsets, strict=True) if start[partition] <= offset <= end[partition]]
        assert max(times, default=0) - min(times, default=0) <= 1_000


def test_a_failed_delivery_ends_the_worker_and_nothing_past_it_is_acknowledged(kafka, topics, admin, tmp_path):
    loaded(kafka, 50_000)
    configure(admin, ConfigResource.Type.TOPIC, WINDOWS.topic, max_message_bytes=1)
    with Worker(kafka, tmp_path) as worker:
        assert worker.process.wait(timeout=PATIENCE) > 0, worker.tail()
        assert "delivery failed topic=factory.windows" in worker.log.read_text()
    assert topics.committed() != topics.ends()
    configure(admin, ConfigResource.Type.TOPIC, WINDOWS.topic, max_message_bytes=1_000_000)
    finish(kafka, topics, tmp_path)
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))


def test_a_broker_killed_under_load_changes_nothing(own_stack, kafka, topics, tmp_path):
    with Worker(kafka, tmp_path) as worker:
        with under_load(kafka, "--devices", 500, "--rate", 1_000, "--faults", FAULTS):
            worker.wait_for("lane_opened")
            time.sleep(3)
            own_stack.kafka.kill()
            time.sleep(2)
            own_stack.kafka.start()
            own_stack.kafka.wait()
            time.sleep(3)
        if worker.process.poll() is None:
            topics.wait_until_read(worker)
            assert worker.stop() == 0, worker.tail()
    finish(kafka, topics, tmp_path)
    assert_equal(actual(kafka, topics), undisturbed(kafka, topics))
