"""What is in a topic now, for commands: read without a group, and without waiting for more."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.catalog import Contract
from streams.access import named, quiet
from streams.batches import Batch
from streams.settings import settings

AT_ONCE: Final = 10_000
TIMEOUT_SECONDS: Final = 10
# librdkafka waits for all of them for so long, be the partition at its end.
GATHER_SECONDS: Final = 0.05


class TopicReader:
    """A topic's records as they were when it was made, all or those Kafka took since `since_ms`. Raises KafkaException."""

    def __init__(self, contract: Contract, since_ms: int = 0) -> None:
        self._consumer = _consumer()
        self._topic = named(contract.topic)
        asked = [TopicPartition(self._topic, partition, since_ms) for partition in range(contract.partitions)]
        starts = {found.partition: found.offset for found in self._consumer.offsets_for_times(asked, timeout=TIMEOUT_SECONDS)}
        ends = {tp.partition: self._consumer.get_watermark_offsets(tp, timeout=TIMEOUT_SECONDS)[1] for tp in asked}
        self.spans = {partition: (start, ends[partition]) for partition, start in starts.items() if 0 <= start < ends[partition]}
        """First offset and end of each partition that has any."""

    def batches(self, partition: int) -> Iterator[Batch]:
        """A partition's records, some thousands at a time."""
        return _batches(self._consumer, self._topic, partition, *self.spans[partition])

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def look_back(contract: Contract, partition: int, end: int, records: int) -> Iterator[Batch]:
    """The last so many records of a partition before the offset `end`, or as many as there are. Raises KafkaException."""
    consumer = _consumer()
    try:
        first, _ = consumer.get_watermark_offsets(TopicPartition(named(contract.topic), partition), timeout=TIMEOUT_SECONDS)
        for batch in _batches(consumer, named(contract.topic), partition, max(first, end - records), end):
            head, _ = batch.split(bisect_left(batch.offsets, end))
            yield head
    finally:
        consumer.close()


def _consumer() -> Consumer:
    options = {"enable.auto.commit": False, "enable.partition.eof": True}
    return Consumer({**quiet(settings().kafka), "group.id": named("headrace-reader"), **options})


def _batches(consumer: Consumer, topic: str, partition: int, start: int, end: int) -> Iterator[Batch]:
    consumer.assign([TopicPartition(topic, partition, start)])
    while start < end:
        if (first := consumer.poll(TIMEOUT_SECONDS)) is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # its public name
        batch = _batch(topic, partition, [first, *consumer.consume(AT_ONCE, GATHER_SECONDS)])
        if not batch:  # the last records were compacted away
            return
        start = batch.last + 1
        yield batch


def _batch(topic: str, partition: int, messages: list[Message]) -> Batch:
    batch = Batch(topic, partition)
    for message in messages:
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                continue
            raise KafkaException(error)
        batch.append(message)
    return batch
