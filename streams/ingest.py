"""From MQTT into Kafka, a batch at a time: a message is acknowledged when Kafka has it, as a reading, an answer or a dead letter."""

import asyncio
from collections import Counter
from collections.abc import Sequence, Set
from contextlib import suppress
from functools import partial
from typing import Final

import polars as pl
from mode import Service

from agents.gateway.answers import is_answer, map_answers
from agents.gateway.commands import is_command
from agents.gateway.readings import MAX_PAYLOAD_BYTES, map_readings
from schemas.catalog import COMMAND_EVENTS, DEAD_LETTERS, READINGS
from schemas.rejects import Reject
from streams.assembly import App
from streams.bulk_mqtt import Arrival
from streams.clock import now_ms
from streams.collector import of_ingest
from streams.settings import settings
from streams.subscription import Session

# How long stopping waits for Kafka to take the batch in hand, so that it does not come a second time after the next start.
STOP_SECONDS: Final = 5


class Ingest(Service):
    """Carries one session's messages to `factory.readings`, machines' answers to `command-events`, what is neither to `dead-letters`.

    One batch at a time: while Kafka takes one the next gathers, and when Kafka is away the broker keeps what the session's receive
    maximum does not let through. Those of a schema that the registry has yet to tell wait apart. `received` = `produced` + `rejected`
    + all `answers` + `own` + those of the batch in hand + those that wait.
    """

    def __init__(self, app: App, session: Session) -> None:
        """Run with `app`, whose producer carries."""
        super().__init__()
        self.app = app
        self.session = session
        self._in_hand = asyncio.Lock()
        self.received = 0
        self.produced = 0
        self.rejected = 0
        self.answers: Counter[str] = Counter()
        """By status."""
        self.own = 0
        """Commands the gateway published: a shared subscription brings them back, too."""
        self.waiting = 0
        """Messages that wait for the registry to tell their schema."""
        app.writes += [READINGS, COMMAND_EVENTS]
        app.services.append(self)
        app.metrics.sources.append(partial(of_ingest, self))

    async def on_start(self) -> None:
        """Connect."""
        self.session.start()

    async def on_stop(self) -> None:
        """Finish the batch in hand and disconnect; what is not acknowledged comes again."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._in_hand.acquire(), STOP_SECONDS)
        await self.session.stop()

    @Service.task
    async def _carry(self) -> None:
        while not self.should_stop:
            arrivals = await self.session.arrivals()
            self.received += len(arrivals)
            await self._take(arrivals)

    async def _take(self, arrivals: Sequence[Arrival]) -> None:
        answers = [arrival for arrival in arrivals if is_answer(arrival.topic)]
        readings = [arrival for arrival in arrivals if not (is_answer(arrival.topic) or is_command(arrival.topic))]
        async with self._in_hand:
            mapped = map_readings(readings, self.app.writers.known, self.app.writers.missing)
            audit, wrong = map_answers(answers, settings().tenant, now_ms())
            waiting = [readings[row] for row in mapped.waiting]
            await self.app.send_frame(READINGS, mapped.frame)
            await self.app.send_frame(COMMAND_EVENTS, audit)
            await self._dead_letter(readings, mapped.rejects)
            await self._dead_letter(answers, wrong)
            await self.app.bulk.flush()
            self.produced += mapped.frame.height
            self.answers.update(audit["status"])
            self.rejected += len(mapped.rejects) + len(wrong)
            self.own += len(arrivals) - len(readings) - len(answers)
            apart = set(waiting)
            self.session.acknowledge([arrival for arrival in arrivals if arrival not in apart])
        if waiting:
            self.add_future(self._take_later(waiting, mapped.unknown))

    async def _take_later(self, waiting: Sequence[Arrival], unknown: Set[int]) -> None:
        """Take messages when their schemas are known, however long the registry is away; others go on meanwhile."""
        self.log.info("schemas_awaited messages=%d ids=%s", len(waiting), sorted(unknown)[:5])
        self.waiting += len(waiting)
        try:
            await self.app.writers.fetch(unknown)
        finally:
            self.waiting -= len(waiting)
        pending = self.session.pending(waiting)
        self.received -= len(waiting) - len(pending)
        if pending:
            await self._take(pending)

    async def _dead_letter(self, arrivals: Sequence[Arrival], rejects: Sequence[Reject]) -> None:
        if rejects:
            letters = dead_letters(arrivals, rejects, now_ms())
            await self.app.send_frame(DEAD_LETTERS, letters, [None] * letters.height)


def dead_letters(arrivals: Sequence[Arrival], rejects: Sequence[Reject], at_ms: int) -> pl.DataFrame:
    """DeadLetter columns: the MQTT topic, no partition or offset, when it came, and the payload (of one too large, its beginning)."""
    sources = [arrivals[reject.row] for reject in rejects]
    return pl.DataFrame(
        {
            "reason": [str(reject.reason) for reject in rejects],
            "detail": [reject.detail for reject in rejects],
            "topic": [source.topic for source in sources],
            "partition": -1,
            "offset": -1,
            "timestamp": at_ms,
            "key": None,
            "value": [source.payload[:MAX_PAYLOAD_BYTES] for source in sources],
        }
    )
