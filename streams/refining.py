"""Topics of devices' messages, made measurements of: all batches of a round in one pass.

batches ─▶ decode ─▶ what came before is left out ─▶ refine ─┬▶ city.readings, city.districts ─▶ delivered ─▶ acknowledged
             └─ rejects ─────────────────────────────────────┴▶ dead letters ────────────────────────▲
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Final, cast

import numpy as np
import polars as pl
from confluent_kafka import KafkaException
from faust.types import EventT
from mode import Service
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception_type, wait_exponential_jitter

from agents.city.refine import Refined, refine
from agents.city.repeats import WINDOW, Repeats, origin
from agents.guard import guarded
from agents.limits import Limits
from schemas.catalog import CITY_READINGS, DISTRICTS, Contract
from schemas.rejects import Reject
from streams.access import named
from streams.assembly import App
from streams.batches import BATCH_TOPICS, Batch, joined
from streams.collector import of_refining
from streams.intake import Intake
from streams.kafka.topic_ids import topic_ids
from streams.pieces import located
from streams.reader import look_back
from streams.settings import settings
from streams.watch.gatherer import gathered

logger = logging.getLogger(__name__)

# Some 30 ms of work, which is what a round may add to an alarm of a manhole in another.
MOST_RECORDS: Final = 2_000


class Messages(Intake):
    """One topic of messages: its ledger, and what came before in each partition."""

    def __init__(self, app: App, contract: Contract) -> None:
        super().__init__(app, contract)
        self._repeats: dict[int, Repeats] = {}
        self.counts.update(dict.fromkeys(("received", "refined", "repeated"), 0))
        app.metrics.sources.append(partial(of_refining, self))
        for partition in range(contract.partitions):
            BATCH_TOPICS.pace(named(contract.topic), partition, MOST_RECORDS)

    async def repeats(self, batch: Batch) -> Repeats:
        """Those of the batch's partition, up to it: read again where another worker, or nobody, took what was before."""
        first = batch.offsets[0]
        repeats = self._repeats.get(batch.partition)
        if repeats is None or repeats.end != first:
            identity, before = await self._before(batch.partition, first)
            repeats = Repeats(origin(batch.topic, batch.partition, identity), first)
            for earlier in before:
                decoded = await self.app.writers.decode(earlier.values, self.contract.codec)
                repeats.take(located(earlier, decoded.frame), earlier.last + 1)
            repeats.end = first
            self._repeats[batch.partition] = repeats
        return repeats

    async def _before(self, partition: int, end: int) -> tuple[str, list[Batch]]:
        """The topic's id, and what lies before an offset, as far as repeats are told. Waits for Kafka."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(KafkaException),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=lambda _: self.should_stop,
            sleep=self.sleep,
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        )
        return await retrying(asyncio.to_thread, self._look_back, partition, end)

    def _look_back(self, partition: int, end: int) -> tuple[str, list[Batch]]:
        topic = named(self.contract.topic)
        # it may have been made anew since the worker started
        identity = topic_ids(settings().kafka, [topic])[topic] or self.app.topic_ids.get(topic, "")
        return identity, list(look_back(self.contract, partition, end, WINDOW))


class Refining(Service):
    """Takes topics of one schema together, as most of what a pass costs is the same for one message and for a thousand.

    Measurements have the Kafka timestamp of their message: by it they are judged, whenever they were made.
    """

    def __init__(self, app: App, contracts: Sequence[Contract], limits: Callable[[], Limits]) -> None:
        """Run with `app`, as one agent; `limits` gives those of the city's sensor types as of now."""
        super().__init__()
        self.app = app
        self._limits = limits
        self._of = {named(contract.topic): Messages(app, contract) for contract in contracts}
        app.writes += [made for made in (CITY_READINGS, DISTRICTS) if made not in app.writes]
        app.services.append(self)
        app.agent(app.batch_topic(*contracts), name=f"refine-{contracts[0].topic}")(self._consume)

    async def take(self, arrived: Sequence[tuple[Messages, EventT[Any]]]) -> None:
        """Queue what the messages of some batches measured; the transport delivers it before it commits."""
        topics = [topic for topic, _ in arrived]
        batches = [cast(Batch, event.value) for _, event in arrived]
        repeats = [await topic.repeats(batch) for topic, batch in zip(topics, batches, strict=True)]
        together = joined(batches)
        for topic, batch in zip(topics, batches, strict=True):
            topic.counts["received"] += len(batch)
        decoded = await topics[0].decode(together.values)
        envelopes = located(together, decoded.frame)
        starts = [0, *accumulate(map(len, batches))]
        cuts = [*pairwise(np.searchsorted(envelopes["row"].to_numpy(), starts).tolist())]
        came_before = [
            known.take(envelopes[first:end], batch.last + 1) for known, batch, (first, end) in zip(repeats, batches, cuts, strict=True)
        ]
        origins = np.repeat([known.origin for known in repeats], [end - first for first, end in cuts])
        new, again = envelopes.hstack([pl.Series("origin", origins, pl.String)]), pl.concat(came_before)
        if again.any():
            new = new.filter(~again)
        refined, unfit = self._refined(new)
        for topic, batch, known, (first, end) in zip(topics, batches, came_before, pairwise(starts), strict=True):
            rejects = [replace(reject, row=reject.row - first) for reject in (*decoded.rejects, *unfit) if first <= reject.row < end]
            await topic.dead_letter(batch, rejects)
            repeated = int(known.sum())
            topic.counts.update(repeated=repeated, refined=len(batch) - repeated - len(rejects))
        await self._send(CITY_READINGS, refined.readings, together)
        await self._send(DISTRICTS, refined.districts, together)
        for (_, event), batch in zip(arrived, batches, strict=True):
            event.ack()
            batch.release()

    def _refined(self, envelopes: pl.DataFrame) -> tuple[Refined, list[Reject]]:
        """What messages measured, and a reject for each without; of one that cannot be looked at, too."""
        limits, whose = self._limits(), envelopes["row"]
        refined, found = guarded(envelopes.height, lambda rows: refine(envelopes[rows], limits))
        return refined, [*refined.rejects, *(replace(reject, row=whose[reject.row]) for reject in found.rejects)]

    async def _send(self, contract: Contract, frame: pl.DataFrame, batch: Batch) -> None:
        await self.app.send_frame(contract, frame, timestamps=[batch.timestamps[row] for row in frame["row"].to_list()])

    async def _consume(self, stream: Any) -> None:  # noqa: ANN401  # Faust's streams are not typed for raw channels
        async for arrived in gathered(stream, lambda tp: self._of[tp.topic]):
            await self.take(arrived)
