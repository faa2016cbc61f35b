"""A topic's way from a plant to the centre: the same records under the centre's schema ids, acknowledged when its Kafka has them.

batch ─▶ decode ─▶ reframe ─▶ the centre's Kafka ─▶ confirmed ─▶ acknowledged
           └─ rejects ─▶ the plant's dead letters
"""

import asyncio
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

from faust.types import EventT
from mode import Service

from schemas.bounds import PAYLOAD_BYTES
from schemas.catalog import Contract
from schemas.frames import reframed, schema_ids
from schemas.rejects import Reason, Reject
from streams.access import named
from streams.assembly import App
from streams.batches import BATCH_TOPICS, Batch
from streams.centre import Centre
from streams.collector import of_forwarding
from streams.intake import Batchwise

# Some 5 ms of work, which is what a minute's windows, thousands at once, add to the delay of an alert behind them: a partition that
# fills a batch lets the others go first for as long as such a burst takes.
BATCH_RECORDS: Final = 1_000
REST_SECONDS: Final = 0.2
# How long stopping waits for the centre; what it has not confirmed by then comes again.
STOP_SECONDS: Final = 5.0


class Forwarding(Batchwise):
    """Carries one contract's topic to the centre. Key, body, timestamp and the order of each key's records stay."""

    def __init__(self, app: App, centre: Centre, contract: Contract) -> None:
        """Run with `app`."""
        super().__init__(app, contract, f"forward-{contract.topic}")
        self._centre = centre
        self._queued: list[tuple[EventT[Any], int, int]] = []
        self._some = asyncio.Event()
        self._settling = asyncio.Lock()
        app.metrics.sources.append(partial(of_forwarding, self))
        for partition in range(contract.partitions):
            BATCH_TOPICS.pace(named(contract.topic), partition, BATCH_RECORDS)

    async def take(self, event: EventT[Any]) -> None:
        """Queue a batch for the centre; waits while its queue is full, which holds up the reading of the topic."""
        batch = cast(Batch, event.value)
        if len(batch) == BATCH_RECORDS:
            BATCH_TOPICS.rest(batch.topic, batch.partition, REST_SECONDS)
        large = [Reject(row, Reason.TOO_LARGE, f"{size} bytes") for row, size in enumerate(_sizes(batch)) if size > PAYLOAD_BYTES]
        rejects = {reject.row: reject for reject in (*large, *(await self.decode(batch.values)).rejects)}
        await self.dead_letter(batch, list(rejects.values()))
        sound = batch.without(rejects.keys())
        values = cast(list[bytes], sound.values)
        ids = {theirs: await self._centre.schema_id(self.contract, theirs) for theirs in schema_ids(values)}
        await self._centre.producer.send_batch(named(self.contract.topic), sound.keys, reframed(values, ids), timestamps=sound.timestamps)
        self._queued.append((event, len(sound), batch.timestamps[0]))
        batch.release()
        self._some.set()

    async def settle(self) -> None:
        """Acknowledge what is queued when the centre has it. Raises DeliveryFailed for what it will never take."""
        async with self._settling:
            queued, self._queued = self._queued, []
            self._some.clear()
            await self._centre.producer.flush()
            for event, records, since in queued:
                event.ack()
                self.counts["forwarded"] += records
                self.app.metrics.forwarded(self.contract.topic, time.time() - since / 1000)

    async def on_stop(self) -> None:
        """Leave nothing to be sent again, if the centre takes it in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.settle()

    @Service.task
    async def _settles(self) -> None:
        while not self.should_stop:
            await self.wait(self._some.wait())
            await self.settle()


def _sizes(batch: Batch) -> list[int]:
    return [len(key or b"") + len(value or b"") for key, value in zip(batch.keys, batch.values, strict=True)]
