"""From MQTT into Kafka, a batch at a time: a message is acknowledged when Kafka has it, as a reading or as a dead letter."""

import time
from collections.abc import Mapping, Sequence

import polars as pl
from mode import Service

from agents.gateway.readings import MAX_PAYLOAD_BYTES, map_readings
from schemas.catalog import DEAD_LETTERS, READINGS
from schemas.rejects import Reject
from schemas.wire import encode
from streams.mqtt import Arrival, Session
from streams.producer import Producer


class Ingest(Service):
    """Carries one session's messages to `factory.readings`, what is no reading to `dead-letters`.

    One batch at a time: while Kafka takes one the next gathers, and when Kafka is away the broker keeps what the session's receive
    maximum does not let through. `received` = `produced` + `rejected` + those of the batch in hand.
    """

    def __init__(self, session: Session, producer: Producer, schema_ids: Mapping[str, int]) -> None:
        """`schema_ids`: the registry's id of the schema of each of the two topics."""
        super().__init__()
        self._session = session
        self._producer = producer
        self._schema_ids = schema_ids
        self.received = 0
        self.produced = 0
        self.rejected = 0

    async def on_start(self) -> None:
        """Connect."""
        self._session.start()

    async def on_stop(self) -> None:
        """Disconnect; what is not acknowledged comes again."""
        await self._session.stop()

    @Service.task
    async def _carry(self) -> None:
        while not self.should_stop:
            arrivals = await self._session.arrivals()
            self.received += len(arrivals)
            rejected = await self._produce(arrivals)
            await self._producer.flush()
            self.rejected += rejected
            self.produced += len(arrivals) - rejected
            self._session.acknowledge(arrivals)

    async def _produce(self, arrivals: Sequence[Arrival]) -> int:
        mapped = map_readings([a.topic for a in arrivals], [a.payload for a in arrivals])
        readings, rejects = mapped.frame, mapped.rejects
        if readings.height:
            values = encode(READINGS.codec, self._schema_ids[READINGS.topic], readings)
            keys = readings["device_id"].cast(pl.Binary).to_list()
            await self._producer.send_batch(READINGS.topic, keys, values)
        if rejects:
            letters = dead_letters(arrivals, rejects, now_ms=int(time.time() * 1000))
            values = encode(DEAD_LETTERS.codec, self._schema_ids[DEAD_LETTERS.topic], letters)
            await self._producer.send_batch(DEAD_LETTERS.topic, [None] * len(values), values)
        return len(rejects)


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
