"""Kafka and Faust without either: a log, a group whose members are given and lose its partitions, and the stream an agent of each reads.

What is real: Faust's queue and flow control, `InFlight`, `Store`. What stands for the rest does as Faust and the transport do, in the same
order, in steps that a test interleaves: `member.revoke()`, `member.assign()`, `member.recover()`, `member.deliver()`, `member.commit()`.
"""

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from types import SimpleNamespace

from faust.types import TP
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from streams.batches import Batch
from streams.inflight import InFlight
from streams.store import Store


class Kafka:
    """A source topic's log, a changelog, and the offsets a group has committed; members of the group share it."""

    def __init__(self, source: dict[TP, Batch]) -> None:
        self.source = source
        self.changelog = defaultdict(list)
        """Partition → (key, value) in order."""
        self.committed = dict.fromkeys(source, 0)
        self.owners = {}
        self.generation = 0

    def latest(self, partition):
        """What the changelog holds of each key."""
        values = {}
        for key, value in self.changelog[partition]:
            values.pop(key, None)
            if value is not None:
                values[key] = value
        return values


class Signal:
    """Faust's signals, as far as they are used."""

    def __init__(self) -> None:
        self.receivers = []

    def connect(self, receiver, **_):
        self.receivers.append(receiver)

    async def send(self, *arguments):
        for receiver in self.receivers:
            await receiver(*arguments)


class Message:
    """A Faust message: a batch under the offset of its last record."""

    def __init__(self, tp, batch, generation) -> None:
        self.tp, self.topic, self.partition, self.offset, self.generation_id = tp, *tp, batch.last, generation
        self.acked = self.tracked = False


class Event:
    """A Faust event."""

    def __init__(self, message, value) -> None:
        self.message, self.value = message, value

    def ack(self):
        self.message.acked = True


class Stream:
    """A Faust stream of a member: it skips what a rebalance overtook in its queue."""

    def __init__(self, member) -> None:
        self.member = member
        self.channel = SimpleNamespace(queue=ThrowableQueue(maxsize=8, flow_control=member.flow_control, clear_on_resume=True))

    def noack(self):
        return self

    async def events(self):
        while True:
            await asyncio.sleep(0)
            event = await self.channel.queue.get()
            message, member = event.message, self.member
            if not member.flow_control.is_active() or message.generation_id != member.consumer_generation_id:
                continue
            member.in_flight.add(message)
            yield event


class Producer:
    """Records wait until Kafka takes them; a flush waits for that, and a sender while there is no room."""

    def __init__(self, kafka) -> None:
        self.kafka, self.waiting = kafka, []
        self.room, self.taken = asyncio.Event(), asyncio.Condition()
        self.room.set()
        self.sent = defaultdict(list)
        """Frames that Kafka has, by topic."""

    async def send_batch(self, topic, keys, values, *, partition=-1):
        await self.room.wait()
        self.waiting += [(topic, partition, key, value) for key, value in zip(keys, values, strict=True)]

    async def send_frame(self, contract, frame, keys=None):
        await self.room.wait()
        self.waiting.append((contract.topic, None, keys, frame))

    async def take(self, count=None):
        """Have Kafka take the first so many records, or all."""
        taken, self.waiting = self.waiting[:count], self.waiting[count:] if count is not None else []
        for topic, partition, key, value in taken:
            if partition is None:
                self.sent[topic].append(value)
            else:
                self.kafka.changelog[partition].append((key, value))
        async with self.taken:
            self.taken.notify_all()

    async def flush(self):
        behind = list(self.waiting)
        async with self.taken:
            await self.taken.wait_for(lambda: not any(record is waiting for record in behind for waiting in self.waiting))


class Member:
    """A worker's app, as a part of it sees it, with a consumer, a producer and a stream of its own."""

    def __init__(self, kafka, *, known, name="member", static=False) -> None:
        """`known`: writers' schemas by id. A `static` member that comes back is given the generation it had."""
        self.kafka, self.static = kafka, static
        self.flow_control = FlowControlEvent()
        self.on_partitions_revoked, self.on_rebalance_complete = Signal(), Signal()
        self.rebalancing = self.in_recovery = False
        self.consumer_generation_id = 0
        self.in_flight = InFlight()
        self.partitions, self.position, self.parked = set(), {}, set()
        self.stream = Stream(self)
        self.producer = self.bulk = Producer(kafka)
        self.consumer = SimpleNamespace(
            assignment=lambda: set(self.partitions), park=self.parked.add, unpark=self.parked.discard, committed=self.kafka.committed.get
        )
        self.conf, self.topic_ids, self.same_topics = SimpleNamespace(id=name), {}, SimpleNamespace(remedies={})
        self.reads, self.writes, self.services, self.waits, self.checks = [], [], [], [], {}
        self.metrics = SimpleNamespace(sources=[], batch=lambda *_: None, checkpoint=lambda *_: None)
        self.registry_answers = asyncio.Event()
        self.writers = SimpleNamespace(known=dict(known), missing=set(), fetch=self._fetch)
        self.learns = {}
        """Schemas the registry tells of when it is asked, once `registry_answers`."""
        self.log = logging.getLogger(name)
        self.agents = []
        self.commits = Counter()

    # What a part asks of its app.

    def Table(self, name, **_):  # noqa: N802  # Faust's
        self.store = Store("checkpoint://", self, SimpleNamespace(name=name))
        return SimpleNamespace(data=self.store)

    def batch_topic(self, *contracts):
        return contracts

    def agent(self, topic, *, name):
        return lambda consume: self.agents.append(consume)

    async def send_frame(self, contract, frame, keys=None, timestamps=None):
        if frame.height:
            await self.bulk.send_frame(contract, frame, keys)

    def give_up(self, reason):
        raise AssertionError(reason)

    async def _fetch(self, ids):
        await self.registry_answers.wait()
        self.writers.known |= {schema_id: self.learns[schema_id] for schema_id in ids}

    # What Faust and the transport do.

    async def revoke(self):
        """A rebalance begins: nothing flows, what is queued is gone, and what the producer has is flushed before the parts hear of it."""
        self.rebalancing = True
        self.in_flight.forget(self.in_flight.partitions())
        self.parked.clear()
        self.flow_control.suspend()
        self.flow_control.clear()
        await self.producer.flush()
        await self.on_partitions_revoked.send(set(self.partitions))

    def assign(self, partitions, generation):
        """The group has given the member its partitions."""
        self.consumer_generation_id = generation
        self.partitions = set(partitions)
        self.in_recovery = True

    async def recover(self, generation):
        """Read the changelogs, go back to what is committed, and let it flow, unless a rebalance came meanwhile."""
        for tp in self.partitions:
            replica = self.store.replica(tp.partition)
            replica.clear()
            replica.update(self.kafka.latest(tp.partition))
        await self.on_rebalance_complete.send()
        self.in_recovery = False
        if self.consumer_generation_id != generation:
            return
        await asyncio.sleep(0)
        self.in_flight.forget(self.in_flight.partitions())  # the transport's perform_seek
        self.position = {tp: self.kafka.committed[tp] for tp in self.partitions}
        self.flow_control.resume()
        self.rebalancing = False

    def deliver(self, tp, records, siblings=0):
        """Put the next records of a partition into the stream's queue, if it is ours and flows; whether it did."""
        source = self.kafka.source[tp]
        first = self.position.get(tp, 0)
        if self.rebalancing or not self.flow_control.is_active() or tp not in self.partitions or tp in self.parked or first >= len(source):
            return False
        last = first + records
        batch = Batch(*tp, *(column[first:last] for column in (source.keys, source.values, source.timestamps, source.offsets)))
        batch.siblings = siblings
        self.position[tp] = batch.last + 1
        self.stream.channel.queue.force_put_nowait(Event(Message(tp, batch, self.consumer_generation_id), batch))
        return True

    async def commit(self):
        """Commit what is acknowledged, behind a flush, if the group then still knows the member by this generation."""
        generation = self.consumer_generation_id
        offsets = {tp: self.in_flight.committable(tp) for tp in self.in_flight.partitions()}
        await self.producer.flush()
        for tp, offset in offsets.items():
            if offset is not None and self.kafka.owners.get(tp) is self and generation == self.kafka.generation:
                self.kafka.committed[tp] = max(offset, self.kafka.committed[tp])

    async def run(self):
        """Run the agents until cancelled."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*(consume(self.stream) for consume in self.agents))
