"""Rebalances at every point of the watch's work: what is committed is in the state once, and nothing stays undone."""

import asyncio

import orjson
import polars as pl
import pytest
from faust.types import TP
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents.factory.domain import FACTORY
from agents.watch import Watch
from schemas.catalog import READINGS, WINDOWS
from schemas.wire import encode
from streams.batches import Batch
from streams.settings import settings as configured
from streams.watching import Watching
from tests.fakes.clock import Clock
from tests.fakes.stream import Kafka, Member

START = 29_333_333 * 60_000
RECORDS = 50
PARTITIONS = (TP(READINGS.topic, 0), TP(READINGS.topic, 1))
KNOWN, LATER = 7, 8
"""Ids of schemas: one that workers know, and one that the registry tells of when it is asked."""


def log_of(tp):
    """Readings that are all fit, in order, three seconds apart; each seventeenth has the schema that is not known yet."""
    number = pl.int_range(RECORDS, eager=True)
    timestamps = START + number * 3_000
    columns = {
        "device_id": pl.select(pl.format("press-{}-{}", tp.partition, number % 3)).to_series(),
        "sensor_type": pl.repeat("temperature", RECORDS, eager=True),
        "value": (number % 7 * 30.0),
        "timestamp": timestamps,
        "location": pl.repeat("", RECORDS, eager=True),
        "metadata": pl.Series([{}] * RECORDS, dtype=READINGS.codec.columns["metadata"]),
        "plant": pl.repeat("plant-1", RECORDS, eager=True),
    }
    frame = pl.DataFrame(columns).select([*READINGS.codec.columns])
    known, later = encode(READINGS.codec, KNOWN, frame), encode(READINGS.codec, LATER, frame)
    values = [later[n] if n % 17 == 16 else known[n] for n in range(RECORDS)]
    return Batch(*tp, [device.encode() for device in columns["device_id"]], values, timestamps.to_list(), list(range(RECORDS)))


SOURCE = {tp: log_of(tp) for tp in PARTITIONS}


def undisturbed(tp):
    watch = Watch(FACTORY, configured().tenant)
    observed = watch.observe(SOURCE[tp], {KNOWN: READINGS.codec, LATER: READINGS.codec}, set())
    return watch, observed, watch.settle()


UNDISTURBED = {tp: undisturbed(tp) for tp in PARTITIONS}


def told(frames, tp):
    """Changes of alerts of a partition's devices, as sinks keep them."""
    rows = [row for frame in frames for row in frame.iter_rows(named=True) if row["device_id"].startswith(f"press-{tp.partition}-")]
    return {(row["alert_id"], row["status"], row["changed_at"]): row for row in rows}


class Rebalances(RuleBasedStateMachine):
    """Two workers of a group, whose loop goes on by single turns between whatever Kafka, Faust and the registry do."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.kafka = Kafka(SOURCE)
        self.members = [Member(self.kafka, known={KNOWN: READINGS.codec}, name="factory") for _ in range(2)]
        self.tasks, self.revoking, self.due = [], {}, {}
        for member in self.members:
            member.learns = {LATER: READINGS.codec}
            member.watching = Watching(member, FACTORY, WINDOWS, "readings-1m")
            self.start(member.run())

    def start(self, coroutine):
        task = self.clock.create_task(coroutine)
        self.tasks.append(task)
        return task

    members_at = st.integers(0, 1)
    partitions_at = st.integers(0, 1)
    turns = st.integers(0, 6)

    @initialize(owners=st.tuples(members_at, members_at))
    def first(self, owners):
        self.everybody_rebalances(owners)

    def everybody_rebalances(self, owners, static=False):
        for at in range(2):
            self.revoke(at)
        for member in self.members:
            self.settle(self.revoking[member])
        self.assign(owners, static)
        for at in range(2):
            self.settle(self.recover(at))

    def settle(self, task):
        """Let all that is held up go on until the task has ended."""
        for _ in range(1_000):
            if task.done():
                break
            for member in self.members:
                member.producer.room.set()
                self.start(member.producer.take())
            self.clock.turn(5)
            self.clock.now += 0.001
        assert task.done()

    @rule(turns=turns)
    def goes_on(self, turns):
        self.clock.turn(turns)

    @rule(at=members_at, which=partitions_at, records=st.integers(1, 9), siblings=st.integers(0, 2), turns=turns)
    def deliver(self, at, which, records, siblings, turns):
        self.members[at].deliver(PARTITIONS[which], records, siblings)
        self.clock.turn(turns)

    @rule(at=members_at, count=st.none() | st.integers(1, 8))
    def kafka_takes(self, at, count):
        self.start(self.members[at].producer.take(count))

    @rule(at=members_at, full=st.booleans())
    def producer_is_full(self, at, full):
        room = self.members[at].producer.room
        room.clear() if full else room.set()

    @rule(at=members_at)
    def registry_answers(self, at):
        self.members[at].registry_answers.set()

    @rule(at=members_at, which=st.sets(partitions_at, min_size=1))
    def checkpoint(self, at, which):
        watching = self.members[at].watching
        lanes = [watching.lanes[tp] for tp in (PARTITIONS[number] for number in sorted(which)) if tp in watching.lanes]
        self.start(watching.checkpoint(*lanes))

    @rule(at=members_at)
    def commit(self, at):
        self.start(self.members[at].commit())

    @precondition(lambda self: len(self.revoking) < 2)
    @rule(at=members_at)
    def revoke(self, at):
        member = self.members[at]
        if member not in self.revoking:
            self.revoking[member] = self.start(member.revoke())

    @precondition(lambda self: len(self.revoking) == 2 and all(task.done() for task in self.revoking.values()))
    @rule(owners=st.tuples(members_at, members_at), static=st.booleans())
    def assign(self, owners, static):
        """The group is agreed. One whose members are static and keep what they had stays at its generation."""
        before, self.kafka.owners = self.kafka.owners, {tp: self.members[at] for tp, at in zip(PARTITIONS, owners, strict=True)}
        if not (static and before == self.kafka.owners):
            self.kafka.generation += 1
        for member in self.members:
            member.assign({tp for tp, owner in self.kafka.owners.items() if owner is member}, self.kafka.generation)
            self.due[member] = self.kafka.generation
        self.revoking = {}

    @precondition(lambda self: not self.revoking and not self.due)
    @rule(owners=st.tuples(members_at, members_at), static=st.booleans(), records=st.integers(1, 9))
    def rebalances_at_once(self, owners, static, records):
        """All of a rebalance, and what is delivered right behind it."""
        self.everybody_rebalances(owners, static)
        for member in self.members:
            for tp in PARTITIONS:
                member.deliver(tp, records)

    @precondition(lambda self: self.due)
    @rule(at=members_at)
    def recovers(self, at):
        if self.members[at] in self.due:
            self.recover(at)

    def recover(self, at):
        return self.start(self.members[at].recover(self.due.pop(self.members[at])))

    @invariant()
    def what_is_committed_is_in_the_state_once(self):
        for tp, committed in self.kafka.committed.items():
            facts = latest(self.kafka.latest(tp.partition))
            assert facts["fence"] >= committed
            assert facts["received"] == facts["accepted"] == facts["fence"]

    @invariant()
    def no_task_has_failed(self):
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()
        self.tasks = [task for task in self.tasks if not task.done()]

    def teardown(self):
        try:
            self.everything_is_done_without_another_rebalance()
        finally:
            for task in self.tasks:
                task.cancel()
            self.clock.turn(3)
            self.clock.close()

    def everything_is_done_without_another_rebalance(self):
        if self.revoking or self.due:
            self.everybody_rebalances((0, 1))
        for member in self.members:
            member.registry_answers.set()
        for _ in range(5):
            for member in self.members:
                for tp in PARTITIONS:
                    member.deliver(tp, RECORDS)
                self.settle(self.start(asyncio.sleep(0.01)))
                for lane in list(member.watching.lanes.values()):
                    self.settle(self.start(member.watching.checkpoint(lane)))
                self.settle(self.start(member.commit()))
            self.what_is_committed_is_in_the_state_once()
            if all(committed == RECORDS for committed in self.kafka.committed.values()):
                break
        assert self.kafka.committed == dict.fromkeys(PARTITIONS, RECORDS)
        sent = [frame for member in self.members for frame in member.producer.sent["alerts"]]
        for tp, (watch, observed, settled) in UNDISTURBED.items():
            found = Watch(FACTORY, configured().tenant)
            found.recover(self.kafka.latest(tp.partition))
            assert {start: pane.rows() for start, pane in found.panes.items()} == {s: pane.rows() for s, pane in watch.panes.items()}
            assert told(sent, tp) == told([observed.alerts, settled.alerts], tp)


def latest(changelog):
    """Fence and ledger of the manifest a worker would take up."""
    manifests = [orjson.loads(value) for key, value in changelog.items() if key.startswith(b"manifest@")]
    whole = [manifest for manifest in manifests if all(name.encode() in changelog for name in manifest["buckets"])]
    if not whole:
        assert not manifests
        return {"fence": 0, "received": 0, "accepted": 0}
    manifest = max(whole, key=lambda manifest: manifest["fence"])
    return {"received": 0, "accepted": 0} | manifest["facts"]["counts"] | {"fence": manifest["fence"]}


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("turns", range(30))
def test_a_rebalance_at_any_turn_of_taking_two_batches_drops_those_and_nothing_behind_it(turns, static):
    line = Rebalances()
    line.first((0, 0))
    for tp in PARTITIONS:
        line.members[0].deliver(tp, 5, siblings=1)
    line.clock.turn(turns)
    line.everybody_rebalances((0, 0), static)
    for tp in PARTITIONS:
        line.members[0].deliver(tp, 7)
    line.teardown()


Rebalances.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
TestRebalances = Rebalances.TestCase
