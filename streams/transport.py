"""Faust's transport `batch://host:port`: batches from aiokafka, librdkafka's producer, commits that lose no record."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from confluent_kafka import Message as Report
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP, ConsumerMessage, HeadersArg, RecordMetadata

from streams.batches import BATCH_TOPICS, Batch, Taken
from streams.fetching import ConsumerThread
from streams.inflight import InFlight
from streams.producer import Producer as BulkProducer
from streams.replication import replicate

if TYPE_CHECKING:
    from streams.assembly import App

# How soon a partition that was held up is read again while the others have nothing to read; Faust takes a second.
HELD_SECONDS: Final = 0.05


class Consumer(driver.Consumer):
    """Faust's aiokafka consumer; one message is a record, or of a batch topic a `Batch` under the offset of its last record."""

    _unacked_messages: InFlight

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # Faust's own signature
        super().__init__(*args, **kwargs)
        self._unacked_messages = InFlight()
        self._parked: set[TP] = set()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:  # noqa: ANN401  # a Batch, or aiokafka's ConsumerRecord
        if not isinstance(record, Batch):
            return super()._to_message(tp, record)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.last,
            record.timestamps[-1] / 1000,
            0,
            None,
            None,
            cast(bytes, record),
            None,
            0,
            0,
            TP(*tp),  # aiokafka's own type is not taken everywhere in Faust
            generation_id=self.app.consumer_generation_id,
        )

    def reached(self, tp: TP) -> int | None:
        """Offset of the next record to be delivered; None while it is not known."""
        return cast(ConsumerThread, self._thread).reached(tp)

    def committed(self, tp: TP) -> int | None:
        """Offset the broker confirmed; None before the first commit."""
        return self._committed_offset[tp]

    def park(self, tp: TP) -> None:
        """Read no more of a partition for now, without throwing away what is fetched of it, as `pause_partitions` would."""
        self._parked.add(tp)
        self.on_buffer_full(tp)

    def unpark(self, tp: TP) -> None:
        """Read the partition again."""
        self._parked.discard(tp)
        self.on_buffer_drop(tp)

    def on_buffer_drop(self, tp: TP) -> None:
        """Called by Faust when an agent's queue has room again."""
        if tp not in self._parked:
            super().on_buffer_drop(tp)

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ANN401, ASYNC109  # the parent's signature
        """What comes next, and None for "deliver all of it": Faust drops what is taken of a partition that is paused meanwhile."""
        if self.flow_active and self._buffered_partitions:
            timeout = HELD_SECONDS
            if not self._get_active_partitions():
                await asyncio.sleep(timeout)
                return {}, None
        thread = cast(ConsumerThread, self._thread)
        records = cast(dict[TP, Taken], (await super()._wait_next_records(timeout))[0] or {})
        if records and not self.flow_active:
            # A fetch that a rebalance overtook, and its recovery had sought already. Faust drops what it took, of changelogs too, and
            # seeks only what has a committed offset: recovery waited for ever.
            await thread.rewind({tp: (taken.start, taken.end) for tp, taken in records.items()})
            return {}, None
        if missing := replicate(cast(TableManager, self.app.tables), records):
            await thread.rewind(missing)
        batches = [batch for taken in records.values() for batch in taken if isinstance(batch, Batch)]
        streams = Counter(BATCH_TOPICS.stream(batch.topic) for batch in batches)
        for batch in batches:
            batch.siblings = streams[BATCH_TOPICS.stream(batch.topic)] - 1
        return records, None

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ANN401, ASYNC109  # the parent's signature
        """Records; of changelogs only until a rebalance has ended.

        At its end Faust resumes the other partitions, seeks, and then clears what it delivered of them meanwhile, which would be lost:
        committed with what follows.
        """
        if self.app.rebalancing:
            active_partitions = {tp for tp in active_partitions or () if self._is_changelog_tp(tp)}
            if not active_partitions:
                await self.sleep(HELD_SECONDS)
                return {}
        return await super()._getmany(active_partitions, timeout)

    async def verify_all_partitions_active(self) -> None:
        """Nothing to do: the watchdog judges who gets no further, by what Kafka confirmed. Faust's check knows only its own commits."""

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Nothing to do: the watchdog judges recoveries, too."""

    async def on_task_error(self, exc: BaseException) -> None:
        """Stop the worker when an agent raised: Faust would start it again behind the batch it failed on."""
        await self.app.crash(exc)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was delivered: whoever gets the partitions starts at the committed offset."""
        self._unacked_messages.forget(self._unacked_messages.partitions())
        self._parked.clear()
        self._buffered_partitions.clear()
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Go back to what is committed: whatever was delivered before comes again, and must not hold back commits for ever."""
        await super().perform_seek()
        self._unacked_messages.forget(self._unacked_messages.partitions())

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing to do: a gap in the offsets holds no message that could be unacknowledged."""

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:  # noqa: ANN401  # topics or partitions, as Faust has it
        return (tp for tp in self._unacked_messages.partitions() if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        # Faust's streams note each acknowledged offset here; `InFlight` reads the messages themselves.
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._unacked_messages.committable(tp)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        """Commit after everything produced so far is delivered; only what the broker confirmed counts as committed."""
        assigned = self.assignment()
        ours = {tp: offset for tp, offset in offsets.items() if tp in assigned}
        if not ours:
            return False
        await self.app.producer.flush()
        if not await self._commit(ours):
            return False
        self._committed_offset.update(ours)
        self.app.tables.on_commit(ours)
        self.app.monitor.on_tp_commit(ours)
        return True


class Producer(FaustProducer):
    """Faust's producer interface over librdkafka: idempotent, acknowledged by all replicas, partitioned as Faust partitions."""

    bulk: BulkProducer
    """The same queue, for flows that send in batches."""

    async def on_start(self) -> None:
        """Connect."""
        # Faust stalls its streams when 100 messages wait; librdkafka's own queue is the bound that matters here.
        self.buffer.max_messages = 50_000
        servers = ",".join(driver.server_list(self.transport.url, Transport.default_port))
        self.bulk = BulkProducer(servers, gone=cast("App", self.app).same_topics.gone)
        await super().on_start()

    async def on_stop(self) -> None:
        """Deliver what is queued, then disconnect."""
        await super().on_stop()
        await self.bulk.close()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Queue one record; the future resolves with its place in the log, or raises `DeliveryFailed`."""
        pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())
        partition = -1 if partition is None else partition
        report = await self.bulk.send(topic, key, value, partition=partition, timestamp=int((timestamp or 0) * 1000), headers=pairs)
        return asyncio.ensure_future(_place(report))

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:  # noqa: ANN401  # as send
        """Queue one record and wait until it is delivered."""
        return await (await self.send(*args, **kwargs))

    async def flush(self) -> None:
        """Wait until everything sent so far is delivered. Raises `DeliveryFailed`."""
        while self.buffer.size and self.buffer.started:
            await self.buffer.flush()
        await self.bulk.flush()

    def key_partition(self, topic: str, key: bytes) -> TP:
        """The partition librdkafka's murmur2 puts the key in, which is Faust's too."""
        return TP(topic, cast(int, self.app.consumer.key_partition(topic, key)))

    def supports_headers(self) -> bool:
        """Always: every broker of this decade does."""
        return True


async def _place(report: asyncio.Future[Report]) -> RecordMetadata:
    """Where a delivered record lies, as Faust wants to know it."""
    message = await report
    topic, partition = cast(str, message.topic()), cast(int, message.partition())
    timestamp_type, timestamp = message.timestamp()
    return RecordMetadata(topic, partition, TP(topic, partition), cast(int, message.offset()), timestamp, timestamp_type)


class Transport(driver.Transport):
    """Registered under the entry-point group `faust.transports` as `batch`."""

    Consumer = Consumer
    Producer = Producer
    driver_version = "headrace batch transport"
