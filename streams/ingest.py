"""From MQTT into Kafka, a batch at a time: a message is acknowledged when Kafka has it, as a reading or as a dead letter."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import polars as pl
from mode import Service

from agents.gateway.readings import MAX_PAYLOAD_BYTES, map_readings
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.rejects import Reject
from streams.assembly import App
from streams.collector import of_ingest
from streams.subscription import Arrival, Session

# How long stopping waits for Kafka to take the batch in hand, so that it does not come a second time after the next start.
STOP_SECONDS: Final = 5


class Ingest(Service):
    """Carries one session's messages to `factory.readings`, what is no reading to `dead-letters`.

    One batch at a time: while Kafka takes one the next gathers, and when Kafka is away the broker keeps what the session's receive
    maximum does not let through. `received` = `produced` + `rejected` + those of the batch in hand.
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
            async with self._in_hand:
                self.received += len(arrivals)
                rejected = await self._produce(arrivals)
                await self.app.bulk.flush()
                self.rejected += rejected
                self.produced += len(arrivals) - rejected
                self.session.acknowledge(arrivals)

    async def _produce(self, arrivals: Sequence[Arrival]) -> int:
        mapped = map_readings([a.topic for a in arrivals], [a.payload for a in arrivals])
        await self.app.send_frame(READINGS, mapped.frame)
        if mapped.rejects:
            letters = dead_letters(arrivals, mapped.rejects, now_ms=int(time.time() * 1000))
            await self.app.send_frame(DEAD_LETTERS, letters, [None] * letters.height)
        return len(mapped.rejects)


def dead_letters(arrivals: Sequence[Arrival], rejects: Sequence[Reject], now_ms: int) -> pl.DataFrame:
    """DeadLetter columns: the MQTT topic, no partition or offset, when it came, and the payload (of one too large, its beginning)."""
    sources = [arrivals[reject.row] for reject in rejects]
    return pl.DataFrame(
        {
            "reason": [str(reject.reason) for reject in rejects],
            "detail": [reject.detail for reject in rejects],
            "topic": [source.topic for source in sources],
            "partition": -1,
            "offset": -1,
            "timestamp": now_ms,
            "key": None,
            "value": [source.payload[:MAX_PAYLOAD_BYTES] for source in sources],
        }
    )
