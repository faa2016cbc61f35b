"""What is in a topic now, for commands: read without a group, and without waiting for more."""

from collections.abc import Iterator
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.catalog import Contract
from streams.batches import Batch
from streams.settings import settings

AT_ONCE: Final = 10_000
TIMEOUT_SECONDS: Final = 10
# librdkafka waits for all of them for so long, be the partition at its end.
GATHER_SECONDS: Final = 0.05


class TopicReader:
    """A topic's records as they were when it was made, all or those Kafka took since `since_ms`. Raises KafkaException."""

    def __init__(self, contract: Contract, since_ms: int = 0) -> None:
        options = {"enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
        self._consumer = Consumer({"bootstrap.servers": settings().kafka, "group.id": "headrace-reader", **options})
        self._topic = contract.topic
        asked = [TopicPartition(contract.topic, partition, since_ms) for partition in range(contract.partitions)]
        starts = {found.partition: found.offset for found in self._consumer.offsets_for_times(asked, timeout=TIMEOUT_SECONDS)}
        ends = {tp.partition: self._consumer.get_watermark_offsets(tp, timeout=TIMEOUT_SECONDS)[1] for tp in asked}
        self.spans = {partition: (start, ends[partition]) for partition, start in starts.items() if 0 <= start < ends[partition]}
        """First offset and end of each partition that has any."""

    def batches(self, partition: int) -> Iterator[Batch]:
        """A partition's records, some thousands at a time."""
        start, end = self.spans[partition]
        self._consumer.assign([TopicPartition(self._topic, partition, start)])
        while start < end:
            if (first := self._consumer.poll(TIMEOUT_SECONDS)) is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # its public name
            batch = _batch(self._topic, partition, [first, *self._consumer.consume(AT_ONCE, GATHER_SECONDS)])
            if not batch:  # the last records were compacted away
                return
            start = batch.last + 1
            yield batch

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def _batch(topic: str, partition: int, messages: list[Message]) -> Batch:
    batch = Batch(topic, partition)
    for message in messages:
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                continue
            raise KafkaException(error)
        batch.append(message)
    return batch
