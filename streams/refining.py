"""A topic of devices' messages, made measurements of batch by batch.

batch ─▶ decode ─▶ what came before is left out ─▶ refine ─┬▶ city.readings, city.districts ─▶ delivered ─▶ acknowledged
           └─ rejects ─────────────────────────────────────┴▶ dead letters ────────────────────────▲
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

import polars as pl
from confluent_kafka import KafkaException
from faust.types import EventT
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, wait_exponential_jitter

from agents.city.refine import Refined, refine
from agents.city.repeats import WINDOW, Repeats
from agents.guard import guarded
from agents.limits import Limits
from schemas.catalog import CITY_READINGS, DISTRICTS, Contract
from schemas.rejects import Reject
from streams.access import named
from streams.assembly import App
from streams.batches import BATCH_TOPICS, Batch
from streams.collector import of_refining
from streams.intake import Intake
from streams.pieces import located
from streams.reader import look_back

logger = logging.getLogger(__name__)

# Some 30 ms of work, which is what a batch may add to an alarm of a manhole in another.
MOST_RECORDS: Final = 2_000


class Refining(Intake):
    """Measurements have the Kafka timestamp of their message: by it they are judged, whenever they were made."""

    def __init__(self, app: App, contract: Contract, limits: Callable[[], Limits]) -> None:
        """Run with `app`; `limits` gives those of the city's sensor types as of now."""
        super().__init__(app, contract, f"refine-{contract.topic}")
        self._limits = limits
        self._repeats: dict[int, Repeats] = {}
        self.counts.update(dict.fromkeys(("received", "refined", "repeated"), 0))
        app.writes += [made for made in (CITY_READINGS, DISTRICTS) if made not in app.writes]
        app.metrics.sources.append(partial(of_refining, self))
        for partition in range(contract.partitions):
            BATCH_TOPICS.pace(named(contract.topic), partition, MOST_RECORDS)

    async def take(self, event: EventT[Any]) -> None:
        """Queue what a batch's messages measured; the transport delivers it before it commits."""
        batch = cast(Batch, event.value)
        repeats = await self._repeats_of(batch)
        decoded = await self.decode(batch)
        envelopes = located(batch, decoded.frame)
        came_before = repeats.take(envelopes, batch.last + 1)
        new = envelopes.filter(~came_before)
        refined, rejects = self._refined(new, f"{batch.topic}-{batch.partition}")
        await self.dead_letter(batch, [*decoded.rejects, *rejects])
        await self._send(CITY_READINGS, refined.readings, batch)
        await self._send(DISTRICTS, refined.districts, batch)
        self.counts.update(repeated=int(came_before.sum()), refined=new.height - len(rejects))
        event.ack()
        batch.release()

    def _refined(self, envelopes: pl.DataFrame, origin: str) -> tuple[Refined, list[Reject]]:
        """What messages measured, and a reject for each without; of one that cannot be looked at, too."""
        limits, whose = self._limits(), envelopes["row"]
        refined, found = guarded(envelopes.height, lambda rows: refine(envelopes[rows], limits, origin))
        return refined, [*refined.rejects, *(replace(reject, row=whose[reject.row]) for reject in found.rejects)]

    async def _send(self, contract: Contract, frame: pl.DataFrame, batch: Batch) -> None:
        timestamps = [batch.timestamps[row] for row in frame["row"]]
        await self.app.send_frame(contract, frame.drop("row"), timestamps=timestamps)

    async def _repeats_of(self, batch: Batch) -> Repeats:
        """Those of the batch's partition, up to it: read again where another worker, or nobody, took what was before."""
        first = batch.offsets[0]
        repeats = self._repeats.get(batch.partition)
        if repeats is None or repeats.end != first:
            repeats = Repeats(first)
            for earlier in await self._before(batch.partition, first):
                decoded = await self.app.writers.decode(earlier.values, self.contract.codec)
                repeats.take(located(earlier, decoded.frame), earlier.last + 1)
            repeats.end = first
            self._repeats[batch.partition] = repeats
        return repeats

    async def _before(self, partition: int, end: int) -> list[Batch]:
        """What lies before an offset, as far as repeats are told. Waits for Kafka."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(KafkaException),
            wait=wait_exponential_jitter(initial=0.2, max=5),
            stop=lambda _: self.should_stop,
            sleep=self.sleep,
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        return await retrying(asyncio.to_thread, lambda: list(look_back(self.contract, partition, end, WINDOW)))
