"""A topic whose records are work that takes its time: read at once, committed when they and all before them are settled."""

import asyncio
import logging
from collections import defaultdict
from typing import Final, cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.catalog import Contract
from streams.access import named, quiet
from streams.batches import Batch

logger = logging.getLogger(__name__)

# What a look for records may wait in its thread, and so what a stop waits for; a record that is there comes at once.
POLL_SECONDS: Final = 0.2
AT_ONCE: Final = 500
# The least Kafka allows: a killed member's records move on after this.
SESSION_MS: Final = 6_000


class Inbox:
    """A member of a consumer group, in a thread of librdkafka's: aiokafka lets a record wait for the silent partitions."""

    def __init__(self, servers: str, contract: Contract, group: str) -> None:
        """Connect to nothing yet."""
        self._servers, self._topic, self._group = servers, named(contract.topic), named(group)
        self._unsettled: defaultdict[int, dict[int, None]] = defaultdict(dict)
        self._next: dict[int, int] = {}
        self._busy = asyncio.Lock()
        self.partitions: frozenset[int] = frozenset()
        """Those that are this member's, until it hears otherwise."""

    def start(self) -> None:
        """Connect in the background."""
        self._consumer = Consumer(
            {
                **quiet(self._servers),
                "group.id": self._group,
                "auto.offset.reset": "earliest",
                "enable.auto.offset.store": False,
                "auto.commit.interval.ms": 500,
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": 2_000,
                "reconnect.backoff.max.ms": 1_000,
            }
        )
        self._consumer.subscribe([self._topic], on_assign=self._gain, on_revoke=self._forget, on_lost=self._forget)

    async def stop(self) -> None:
        """Commit what is settled, and leave: whoever comes next reads the rest again."""
        async with self._busy:
            await asyncio.to_thread(self._leave)

    @property
    def unsettled(self) -> int:
        """Records read and not yet settled."""
        return sum(map(len, self._unsettled.values()))

    async def read(self) -> list[Batch]:
        """What has come, by partition; waits a moment for it. Raises KafkaException for what the consumer does not get over."""
        async with self._busy:
            messages = await asyncio.to_thread(self._poll)
        batches: dict[int, Batch] = {}
        for message in messages:
            if (error := message.error()) is None:
                partition = cast(int, message.partition())
                batches.setdefault(partition, Batch(self._topic, partition)).append(message)
            elif error.fatal():
                raise KafkaException(error)
            else:
                logger.warning("not_read topic=%s: %s", self._topic, error.str())
        for batch in batches.values():
            self._unsettled[batch.partition] |= dict.fromkeys(batch.offsets)
            self._next[batch.partition] = batch.last + 1
        return list(batches.values())

    def settle(self, partition: int, offset: int) -> None:
        """All that a record called for is done; of one that was revoked meanwhile, too."""
        self._unsettled[partition].pop(offset, None)

    # In a thread, one at a time, and what they call back.

    def _poll(self) -> list[Message]:
        self._store()
        first = self._consumer.poll(POLL_SECONDS)
        return [] if first is None else [first, *self._consumer.consume(AT_ONCE, 0)]

    def _store(self) -> None:
        """What precedes a partition's first unsettled record may be committed."""
        # copied at one go, as the event loop settles records meanwhile
        ends = {partition: next(iter([*self._unsettled[partition]]), after) for partition, after in self._next.items()}
        if ends:
            self._consumer.store_offsets(offsets=[TopicPartition(self._topic, *end) for end in ends.items()])

    def _leave(self) -> None:
        self._store()
        self._consumer.close()

    def _gain(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.partitions |= {tp.partition for tp in partitions}

    def _forget(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """Whoever has them next reads what is unsettled again."""
        self._store()
        self.partitions -= {tp.partition for tp in partitions}
        for tp in partitions:
            self._next.pop(tp.partition, None)
            self._unsettled.pop(tp.partition, None)
