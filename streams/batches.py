"""Kafka record batches taken whole from aiokafka's fetcher: one object per poll and partition, not one per record."""

import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, cast

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from confluent_kafka import Message

# 20,000 readings are 15–30 ms of work: the bound on what one batch adds to another partition's latency.
MAX_RECORDS: Final = 20_000


@dataclass(slots=True)
class Batch:
    """Consecutive records of one partition, as columns of equal length; `timestamps` are Kafka's, in milliseconds."""

    topic: str
    partition: int
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    siblings: int = 0
    """How many other batches of its stream's topics the same poll gave: they come right behind."""

    def __len__(self) -> int:
        """How many records."""
        return len(self.offsets)

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return self.offsets[-1]

    def extend(self, records: Sequence[Any]) -> None:
        """Append aiokafka's records, a column at a time; compaction may have left none."""
        if not records:
            return
        self.keys += [r.key for r in records]
        self.values += [r.value for r in records]
        self.timestamps += [r.timestamp for r in records]
        first, last = records[0].offset, records[-1].offset
        # only a compacted topic has gaps
        self.offsets += range(first, last + 1) if last - first + 1 == len(records) else [r.offset for r in records]

    def append(self, message: Message) -> None:
        """Append a record of librdkafka's."""
        self.keys.append(message.key())
        self.values.append(message.value())
        self.timestamps.append(message.timestamp()[1])
        self.offsets.append(cast(int, message.offset()))

    def release(self) -> None:
        """Let go of the records: a batch waits for its acknowledgement by its message's offset alone."""
        self.keys, self.values, self.timestamps, self.offsets = [], [], [], []

    def split(self, records: int) -> tuple["Batch", "Batch"]:
        """The first `records` of the batch, and the rest."""
        columns = (self.keys, self.values, self.timestamps, self.offsets)
        head = Batch(self.topic, self.partition, *(c[:records] for c in columns))  # type: ignore[arg-type]
        return head, Batch(self.topic, self.partition, *(c[records:] for c in columns))  # type: ignore[arg-type]

    def without(self, rows: Set[int]) -> "Batch":
        """The batch without the records at some positions."""
        if not rows:
            return self
        kept = [row for row in range(len(self)) if row not in rows]
        columns = (self.keys, self.values, self.timestamps, self.offsets)
        return Batch(self.topic, self.partition, *([column[row] for row in kept] for column in columns))  # type: ignore[arg-type]


def joined(batches: Sequence[Batch]) -> Batch:
    """The records of some batches, one batch after another; where they are of is the first batch's, and so only of its own."""
    if len(batches) == 1:
        return batches[0]
    columns = ([value for batch in batches for value in getattr(batch, name)] for name in ("keys", "values", "timestamps", "offsets"))
    return Batch(batches[0].topic, batches[0].partition, *columns)  # type: ignore[arg-type]


class BatchTopics:
    """The topics delivered in batches: how many records one batch of each may hold, and how long few records are gathered for."""

    def __init__(self) -> None:
        self._limits: dict[tuple[str, int], int] = {}
        self._rests: dict[tuple[str, int], float] = {}
        self._streams: dict[str, str] = {}
        self._gathered: dict[str, float] = {}

    def declare(self, *topics: str, gathered_seconds: float = 0) -> None:
        """Deliver the topics in batches from the next fetch on, those named together to one stream."""
        for topic in topics:
            self._streams.setdefault(topic, topics[0])
            self._gathered[topic] = max(gathered_seconds, self.gathered_seconds(topic))

    def __contains__(self, topic: object) -> bool:
        """Whether the topic comes in batches."""
        return topic in self._streams

    def stream(self, topic: str) -> str:
        """The first topic of those that are delivered to one stream with this."""
        return self._streams[topic]

    def gathered_seconds(self, topic: str) -> float:
        """How long the topic's records are gathered for while few come; 0: they are taken as they come."""
        return self._gathered.get(topic, 0)

    def limit(self, topic: str, partition: int) -> int:
        """Records a batch of the partition may hold."""
        return self._limits.get((topic, partition), MAX_RECORDS)

    def pace(self, topic: str, partition: int, records: int) -> None:
        """Bound the partition's batches: as each poll takes one of each partition, they then share the processor by time."""
        self._limits[topic, partition] = max(1, min(records, MAX_RECORDS))

    def rest(self, topic: str, partition: int, seconds: float) -> None:
        """Let other partitions that have records go first for so long."""
        self._rests[topic, partition] = time.monotonic() + seconds

    def rests(self, topic: str, partition: int) -> bool:
        """Whether the partition lets others go first."""
        return self._rests.get((topic, partition), 0) > time.monotonic()


BATCH_TOPICS: Final = BatchTopics()


class BatchRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """Yields `Batch`es for batch topics and single records for all others; skips what aiokafka skips, raises what it raises.

    A batch never spans two fetches, so its bytes are bounded by the fetch (`consumer_max_fetch_size`, compressed).
    """

    next_fetch_offset: int

    def _unpack_records(self) -> Iterator[Any]:
        if self._tp.topic not in BATCH_TOPICS:
            yield from super()._unpack_records()
            return
        batch = Batch(*self._tp)
        while self._records.has_next():
            kafka_batch = self._records.next_batch()
            if self._check_crcs and not kafka_batch.validate_crc():
                if batch:  # or the position would be moved past what was gathered
                    yield batch
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not self._is_skipped(kafka_batch):
                records = list(kafka_batch)
                if kafka_batch.base_offset < self.next_fetch_offset:  # Kafka sends its batches whole
                    records = [r for r in records if r.offset >= self.next_fetch_offset]
                if records:
                    batch.extend(records)
                while len(batch) >= (limit := BATCH_TOPICS.limit(*self._tp)):
                    head, batch = batch.split(limit)
                    self.next_fetch_offset = head.last + 1
                    yield head
            # The last offset of a compacted batch outlives its record: without it the same batch is fetched for ever.
            self.next_fetch_offset = kafka_batch.next_offset
        if batch:
            yield batch

    def _is_skipped(self, kafka_batch: Any) -> bool:  # noqa: ANN401  # aiokafka's C type
        """Whether it is a control batch, or under read_committed part of an aborted transaction."""
        if self._isolation_level == fetcher.READ_COMMITTED and kafka_batch.producer_id is not None:
            self._consume_aborted_up_to(kafka_batch.base_offset)
            if kafka_batch.is_control_batch and self._contains_abort_marker(kafka_batch):
                self._aborted_producers.discard(kafka_batch.producer_id)
            if kafka_batch.is_transactional and kafka_batch.producer_id in self._aborted_producers:
                return True
        return bool(kafka_batch.is_control_batch)


class Taken(list[Any]):
    """What one poll takes of a partition: every record there is from offset `start` up to `end`."""

    def __init__(self, start: int, end: int, records: Sequence[Any]) -> None:
        """Batches, or aiokafka's records; `end` is exclusive."""
        super().__init__(records)
        self.start, self.end = start, end


class OneBatch(fetcher.FetchResult):  # type: ignore[misc]  # aiokafka is untyped
    """What was fetched of a partition; a poll takes one batch of it, so that no partition's backlog stands before the others'."""

    _passed: ClassVar[dict[Any, tuple[int, int]]] = {}
    """First offset, and the one after the last, of what gave no records, by partition."""

    @property
    def size(self) -> int:
        """Bytes of the fetch, as Kafka stores them, of which some may be taken already."""
        return cast(int, self._partition_records._records.size_in_bytes()) if self.has_more() else 0  # noqa: SLF001

    def getall(self, max_records: int | None = None) -> Taken:
        """Take what one poll may take; offsets of which compaction has left nothing belong to the records behind them."""
        if not self.has_more():
            return Taken(-1, -1, [])
        tp, fetched = self._topic_partition, self._partition_records
        start = fetched.next_fetch_offset
        records = super().getall(1 if tp.topic in BATCH_TOPICS else max_records)
        passed, end = self._passed.pop(tp, (start, start))
        taken = Taken(passed if end == start else start, fetched.next_fetch_offset, records)
        if not records:
            self._passed[tp] = (taken.start, taken.end)
        return taken
