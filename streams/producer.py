"""The one way into Kafka: librdkafka's idempotent producer behind asyncio, bounded, and with every failed delivery remembered."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice, repeat
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Librdkafka

from streams.access import quiet
from streams.consignment import Consignment, Header
from streams.topics import MISSING

logger = logging.getLogger(__name__)

# Delivery reports are collected on the event loop's own thread: from another thread each of them would have to win the
# interpreter lock from a busy loop. A look each millisecond costs 3 % of a core, and nothing once every record is reported on.
POLL_SECONDS = 0.001


class DeliveryFailed(Exception):
    """Records Kafka did not take: `topic` and `error` of the first of them, `count` of all since the producer started."""

    def __init__(self, topic: str, count: int, error: KafkaError) -> None:
        super().__init__(f"{count} records not delivered, the first to {topic}: {error.str()} ({error.name()})")
        self.topic = topic
        self.count = count
        self.error = error


class _Epoch:
    """The records queued between two flushes: how many of them Kafka has not yet reported on."""

    __slots__ = ("_failed", "outstanding")

    def __init__(self, failed: Callable[[str, KafkaError], None]) -> None:
        self.outstanding = 0
        self._failed = failed

    def report(self, error: KafkaError | None, message: Message) -> None:
        self.outstanding -= 1
        if error is not None:
            self._failed(message.topic() or "", error)


class Producer:
    """Queues records for Kafka and says when they are there; one per process, for any number of tasks of one event loop.

    Nothing is dropped: a full queue makes its senders wait. Retries neither lose nor duplicate nor reorder records of a partition.
    After a failed delivery every flush raises DeliveryFailed for ever: whoever commits after a flush must not go on.
    """

    def __init__(
        self,
        servers: str,
        *,
        linger_ms: float = 1,
        batch_bytes: int = 32_768,
        compression: str = "snappy",
        queue_records: int = 100_000,
        queue_kbytes: int = 65_536,
        delivery_seconds: float = 0,
        gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Connect in the background to `servers` (host:port, comma-separated). `delivery_seconds` 0: retry for as long as it takes.

        `gone` is told the topic of a failed delivery where Kafka has no such topic.
        """
        self._gone = gone
        self._librdkafka = Librdkafka(
            {
                **quiet(servers),
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # Java's and Faust's; the default, CRC32, breaks co-partitioning
                "linger.ms": linger_ms,
                "batch.size": batch_bytes,
                "compression.type": compression,
                "queue.buffering.max.messages": queue_records,
                "queue.buffering.max.kbytes": queue_kbytes,
                "message.timeout.ms": int(delivery_seconds * 1000),
                "reconnect.backoff.max.ms": 1000,  # the default, 10 s, keeps a returned broker waiting
            }
        )
        self._failure: tuple[str, KafkaError] | None = None
        self.failures = 0
        """Records Kafka did not take since the start."""
        self.queued: Counter[str] = Counter()
        """Records queued since the start, by topic."""
        self._epochs = [_Epoch(self._failed)]
        self._consignments: list[Consignment] = []
        self._reported = asyncio.Event()
        self._heard_at = time.monotonic()
        self._collector: asyncio.Task[None] | None = None

    @property
    def outstanding(self) -> int:
        """Records queued and not yet reported on."""
        return sum(epoch.outstanding for epoch in self._epochs) + sum(consignment.outstanding for consignment in self._consignments)

    @property
    def silent_seconds(self) -> float:
        """How long Kafka has reported on nothing while records wait for it; 0 where none does."""
        return time.monotonic() - self._heard_at if self.outstanding else 0.0

    async def send_batch(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        partition: int = -1,
        timestamps: Sequence[int] | None = None,
    ) -> None:
        """Queue records in order, `timestamps` in milliseconds (none: now); without a `partition` the keys decide.

        A record Kafka will never take (too large, no such partition) is a failed delivery; the others are queued all the same.
        """
        if not len(keys) == len(values) == len(timestamps or values):
            raise ValueError(f"{len(keys)} keys, {len(values)} values, {len(timestamps or values)} timestamps")
        queued = 0
        while True:
            queued += self._queue(topic, keys, values, partition, timestamps, queued)
            self._collect()
            if queued == len(values):
                return
            await self._reported.wait()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        partition: int = -1,
        timestamp: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> asyncio.Future[Message]:
        """Queue one record of a low-volume flow; the future gives the message as delivered (partition, offset) or DeliveryFailed."""
        delivered: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        while True:
            epoch = self._epochs[-1]

            def report(error: KafkaError | None, message: Message, epoch: _Epoch = epoch) -> None:
                epoch.report(error, message)
                if delivered.cancelled():
                    return
                if error is None:
                    delivered.set_result(message)
                else:
                    delivered.set_exception(DeliveryFailed(topic, 1, error))

            try:
                self._librdkafka.produce(topic, value, key, partition, report, None, timestamp, list(headers))
            except BufferError:
                self._collect()
                await self._reported.wait()
            except KafkaException as refusal:
                self._failed(topic, refusal.args[0])
                delivered.set_exception(DeliveryFailed(topic, 1, refusal.args[0]))
                return delivered
            else:
                epoch.outstanding += 1
                self.queued[topic] += 1
                self._collect()
                return delivered

    async def consign(
        self, topics: Sequence[str], keys: Sequence[bytes | None], values: Sequence[bytes], headers: Sequence[list[Header]]
    ) -> Consignment:
        """Queue records in order, each for a topic of its own; waits while the queue is full."""
        consignment = Consignment()
        self._consignments = [*(each for each in self._consignments if each.outstanding), consignment]
        produce, report, queued = self._librdkafka.produce, consignment.report, 0
        while queued < len(topics):
            try:
                for topic, key, value, header in islice(zip(topics, keys, values, headers, strict=True), queued, None):
                    produce(topic, value, key, -1, report, None, 0, cast(Any, header))  # its stubs take no list of plain bytes
                    queued += 1
                    consignment.outstanding += 1
            except BufferError:
                self._collect()
                await self._reported.wait()
            except KafkaException as refusal:
                consignment.refused[values[queued]] = refusal.args[0]
                queued += 1
        self.queued.update(topics)
        self._collect()
        consignment.close()
        return consignment

    async def flush(self) -> None:
        """Wait until Kafka has reported on every record queued before this call; raises DeliveryFailed if any was ever not delivered."""
        self._epochs.append(_Epoch(self._failed))
        before = self._epochs[:-1]
        while any(epoch.outstanding for epoch in before):
            await self._reported.wait()
        self._epochs = [epoch for epoch in self._epochs[:-1] if epoch.outstanding] + self._epochs[-1:]
        if self._failure is not None:
            topic, error = self._failure
            raise DeliveryFailed(topic, self.failures, error)

    async def close(self) -> None:
        """Disconnect; what is still queued is dropped as failed, so flush first."""
        self._librdkafka.purge()
        if self._collector is not None:
            await self._collector
        await asyncio.to_thread(self._librdkafka.close)

    def _queue(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        partition: int,
        timestamps: Sequence[int] | None,
        start: int,
    ) -> int:
        """Queue from `start` on; returns how many were dealt with before the queue was full."""
        epoch = self._epochs[-1]
        produce, report = self._librdkafka.produce, epoch.report
        queued = 0
        try:
            # confluent-kafka's produce_batch saves 0.1 µs a record but knows no timestamps
            for key, value, timestamp in islice(zip(keys, values, timestamps or repeat(0), strict=False), start, None):
                produce(topic, value, key, partition, report, None, timestamp)
                queued += 1
        except BufferError:
            return queued
        except KafkaException as refusal:
            self._failed(topic, refusal.args[0])
            return queued + 1
        else:
            return queued
        finally:
            epoch.outstanding += queued
            self.queued[topic] += queued

    def _failed(self, topic: str, error: KafkaError) -> None:
        if self._failure is None:
            self._failure = (topic, error)
            logger.error("delivery failed topic=%s error=%s", topic, error)
        self.failures += 1
        if error.name() in MISSING:
            self._gone(topic)

    def _collect(self) -> None:
        if self._collector is None or self._collector.done():
            self._heard_at = time.monotonic()
            self._collector = asyncio.get_running_loop().create_task(self._collect_reports())

    async def _collect_reports(self) -> None:
        while len(self._librdkafka):
            before = self.outstanding
            if self._librdkafka.poll(0):
                if self.outstanding < before:  # what it counts may be errors of connections
                    self._heard_at = time.monotonic()
                self._reported.set()
                self._reported = asyncio.Event()
            await asyncio.sleep(POLL_SECONDS)


async def deliver(
    servers: str, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None], seconds: float, partition: int = -1
) -> None:
    """Send a command's few records and return when Kafka has them. Raises DeliveryFailed after so many seconds."""
    producer = Producer(servers, delivery_seconds=seconds)
    try:
        await producer.send_batch(topic, keys, values, partition=partition)
        await producer.flush()
    finally:
        await producer.close()
