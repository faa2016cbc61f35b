"""A topic that a worker reads whole before anything else, and follows from then on, without a group: nothing is assigned or committed."""

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl
from aiokafka import AIOKafkaConsumer, TopicPartition
from mode import Service

from schemas.catalog import Contract
from schemas.rejects import Reject
from streams.assembly import App
from streams.batches import BATCH_TOPICS
from streams.settings import settings

# How long a look for changes may wait at the broker.
POLL_MS: Final = 500

Take = Callable[[pl.DataFrame, Sequence[Reject]], None]


class Following(Service):
    """Hands on what comes in a topic: records with their `arrival` (Kafka timestamp, ms), in the order of their partition, and rejects."""

    def __init__(self, app: App, contract: Contract, take: Take) -> None:
        """Run with `app`, before it reads or answers anything else."""
        super().__init__()
        self.app, self._contract, self._hand_on = app, contract, take
        app.reads.append(contract)
        app.prerequisites.append(self)
        # for every consumer of the process: the warehouse stores the same topic
        BATCH_TOPICS.declare(contract.topic)

    async def on_start(self) -> None:
        """Read what is there. Waits for Kafka and the registry."""
        self._consumer = AIOKafkaConsumer(bootstrap_servers=settings().kafka, enable_auto_commit=False, fetch_max_wait_ms=POLL_MS)
        await self._consumer.start()
        everything = [TopicPartition(self._contract.topic, number) for number in range(self._contract.partitions)]
        self._consumer.assign(everything)
        await self._consumer.seek_to_beginning(*everything)
        ends = await self._consumer.end_offsets(everything)
        while [tp for tp in everything if await self._consumer.position(tp) < ends[tp]]:
            await self._take()

    async def on_stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    @Service.task
    async def _follow(self) -> None:
        while not self.should_stop:
            await self._take()

    async def _take(self) -> None:
        found = await self._consumer.getmany(timeout_ms=POLL_MS)
        came = [batch for batches in found.values() for batch in batches]
        values = [value for batch in came for value in batch.values]
        if not values:
            return
        decoded = await self.app.writers.decode(values, self._contract.codec)
        arrival = pl.Series("arrival", [at for batch in came for at in batch.timestamps], dtype=pl.Int64)
        self._hand_on(decoded.frame.with_columns(arrival.gather(decoded.frame["row"])), decoded.rejects)
