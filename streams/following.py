"""A topic that a worker reads whole before anything else, and follows from then on, without a group: nothing is assigned or committed."""

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl
from aiokafka import AIOKafkaConsumer, TopicPartition
from mode import Service

from schemas.catalog import Contract
from schemas.rejects import Reject
from streams.access import named
from streams.assembly import App
from streams.batches import BATCH_TOPICS
from streams.clock import now_ms
from streams.credentials import arguments

# How long a look for changes waits for one; how long the broker does is the fetcher's.
POLL_MS: Final = 5_000

Take = Callable[[pl.DataFrame, Sequence[Reject]], None]


class Following(Service):
    """Hands on what comes in a topic: records with their `arrival` (Kafka timestamp, ms), in the order of their partition, and rejects."""

    def __init__(self, app: App, contract: Contract, take: Take, back_ms: int | None = None) -> None:
        """Run with `app`, before it reads or answers anything else. `back_ms`: leave out what is older than that at the start."""
        super().__init__()
        self.app, self._contract, self._hand_on = app, contract, take
        self._back_ms = back_ms
        app.reads.append(contract)
        app.prerequisites.append(self)
        # for every consumer of the process: the warehouse stores the same topic
        BATCH_TOPICS.declare(named(contract.topic))

    async def on_start(self) -> None:
        """Read what is there. Waits for Kafka and the registry."""
        self._consumer = AIOKafkaConsumer(**arguments(), enable_auto_commit=False)
        await self._consumer.start()
        everything = [TopicPartition(named(self._contract.topic), number) for number in range(self._contract.partitions)]
        ends = await self._consumer.end_offsets(everything)
        since = {}
        if self._back_ms is not None:
            since = await self._consumer.offsets_for_times(dict.fromkeys(everything, now_ms() - self._back_ms))
        # from here to the seek nothing may wait: the consumer would go to the end by itself
        self._consumer.assign(everything)
        if self._back_ms is None:
            await self._consumer.seek_to_beginning(*everything)
        for tp, first in since.items():
            self._consumer.seek(tp, ends[tp] if first is None else first.offset)
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
