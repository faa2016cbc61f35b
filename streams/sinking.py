"""A topic's way into its table: batches gathered into inserts, and acknowledged when ClickHouse has their rows.

batch ─▶ decode ─▶ prepare ─▶ piece ── gathered for a second ── insert ─┬▶ stored ─────────────────────▶ acknowledged
           └─ rejects ─▶ dead letters                                   └▶ refused: halved, until the bad row
                                                                           is alone: dead letter ──────────▲
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, cast

import polars as pl
from faust.types import EventT
from mode import Service
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from agents.reading import Domain
from schemas.catalog import Contract
from schemas.rejects import Reason, Reject
from streams.access import named
from streams.assembly import App
from streams.batches import Batch
from streams.clickhouse import ClickHouse
from streams.clickhouse_errors import ClickHouseAway, RowsRefused
from streams.collector import of_sinking
from streams.intake import Batchwise
from streams.pieces import Piece, columns, halves, height, located, together, token
from streams.worker.threads import Threads

# Every insert makes a part that merges have to take in: fewer is cheaper, later is staler.
GATHER_SECONDS: Final = 2.0
# What is inserted every two seconds need not be read more often than some times.
GATHERED_MS: Final = 500
ENOUGH_ROWS: Final = 100_000
# What may be gathered while an insert is under way, and so of an insert: at most two of them and a batch are in memory. The slower
# ClickHouse is, the larger its inserts. A reading is some 200 bytes.
MOST_ROWS: Final = 400_000
MOST_BYTES: Final = 128 << 20
# Of all topics: each topic inserts one at a time.
INSERTS: Final = Threads("inserts", 6)


class Sinking(Batchwise):
    """Stores one contract's topic in its table."""

    def __init__(self, app: App, clickhouse: ClickHouse, contract: Contract, domain: Domain | None = None) -> None:
        """Run with `app`. What `domain` rejects of its source is not stored, and its own worker dead-letters it."""
        super().__init__(app, contract, f"sink-{contract.topic}", GATHERED_MS)
        self._clickhouse = clickhouse
        self._domain = domain
        self._columns = [pl.col("row"), *columns(contract), *([pl.col("partition"), pl.col("offset")] if domain else [])]
        self._gathered: list[Piece] = []
        self._room, self._some, self._enough = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._storing = asyncio.Lock()
        app.metrics.sources.append(partial(of_sinking, self))
        app.on_partitions_revoked.connect(self._drop, weak=False)

    def adopt(self, domain: Domain) -> None:
        """Judge by another version of the domain from the next batch on."""
        self._domain = domain

    async def take(self, event: EventT[Any]) -> None:
        """Gather a batch; waits while there is no room, which holds up the reading of all topics."""
        batch = cast(Batch, event.value)
        rows = await self._rows(batch)
        while self._is_full():
            self._room.clear()
            await self._room.wait()
        self._gathered.append(Piece(event, rows.select(self._columns)))
        self._some.set()
        if height(self._gathered) >= ENOUGH_ROWS or self._is_full():
            self._enough.set()

    async def store(self) -> None:
        """Insert what is gathered, and acknowledge it. Where ClickHouse is away, wait for it; at the worker's stop, leave it."""
        async with self._storing:
            pieces, self._gathered = self._gathered, []
            self._some.clear()
            self._enough.clear()
            self._room.set()
            try:
                await self._insert([piece for piece in pieces if piece.rows.height])
            except ClickHouseAway as away:
                self.log.warning("left_unstored table=%s rows=%d, to be read again: %s", self.contract.sink, height(pieces), away)
                return
            # Of what was revoked meanwhile, too: nobody looks at it any more, and the rows that are read again replace these.
            for piece in pieces:
                piece.event.ack()

    async def on_stop(self) -> None:
        """Leave nothing to be read again."""
        await self.store()

    @Service.task
    async def _stores(self) -> None:
        while not self.should_stop:
            await self.wait(self._some.wait())
            await self.wait(self._enough.wait(), timeout=GATHER_SECONDS)
            await self.store()

    async def _drop(self, *_: object, **__: object) -> None:
        """Forget what is gathered on a rebalance: it is unacknowledged, whoever has the partition reads it again."""
        self._gathered = []
        self._room.set()

    def _is_full(self) -> bool:
        return height(self._gathered) >= MOST_ROWS or sum(piece.rows.estimated_size() for piece in self._gathered) >= MOST_BYTES

    async def _rows(self, batch: Batch) -> pl.DataFrame:
        decoded = await self.decode(batch.values)
        if self._domain is None:
            await self.dead_letter(batch, decoded.rejects)
            return decoded.frame
        rows, unfit = self._domain.sort_out(located(batch, decoded.frame))
        self.count([*decoded.rejects, *unfit])
        return rows

    async def _insert(self, pieces: Sequence[Piece]) -> None:
        """Store all rows but those that ClickHouse refuses, which become dead letters. Raises ClickHouseAway when stopping."""
        if not pieces:
            return
        try:
            await self._attempt(pieces)
        except RowsRefused as refused:
            if height(pieces) > 1:
                for half in halves(pieces):
                    await self._insert(half)
            else:
                await self.dead_letter(pieces[0].batch, [Reject(pieces[0].rows["row"][0], Reason.SINK_REFUSED, str(refused))])
        else:
            self.counts["stored"] += height(pieces)

    async def _attempt(self, pieces: Sequence[Piece]) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(ClickHouseAway),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=lambda _: self.should_stop,
            sleep=self.sleep,
            before_sleep=self._note,
            reraise=True,
        )
        name = token(named(self.contract.topic), pieces)
        await retrying(INSERTS.run, self._clickhouse.insert, self.contract.sink, together(pieces), name)
        self.away.discard("clickhouse")

    def _note(self, state: RetryCallState) -> None:
        self.away.add("clickhouse")
        problem = state.outcome.exception() if state.outcome else None
        self.log.warning("clickhouse_awaited table=%s attempt=%d: %s", self.contract.sink, state.attempt_number, problem)
