"""When each record leaves: what is delayed is held back and overtaken, and a live run keeps to the clock whatever the sink does."""

import asyncio
import time
from collections.abc import Iterator
from typing import Protocol

import polars as pl

from deploy.simulate.faults import Faults, inject
from deploy.simulate.signals import Signals
from deploy.simulate.truth import Truth

# A paced record is at most this late by design: what is due leaves together, as each send takes a millisecond of the processor.
STEP_SECONDS = 0.02


class Taker(Protocol):
    """Where records go."""

    async def send(self, records: pl.DataFrame) -> None:
        """Take records (`channel`, `timestamp`, `value`, `sent_at`, `fault`), in order; waits while too many are on their way."""


class Sink(Taker, Protocol):
    """The same, which says what became of them."""

    @property
    def pending(self) -> int:
        """Records nobody has acknowledged."""

    async def close(self) -> None:
        """Wait until all have arrived, as long as some do."""

    def unacknowledged(self) -> list[int]:
        """The records that nobody has acknowledged, counted from 0 in the order they were sent."""


def deliveries(
    signals: Signals, faults: Faults, truth: Truth, rounds: int | None, rounds_at_once: int, stop: asyncio.Event
) -> Iterator[pl.DataFrame]:
    """Records in order of `sent_at`, of `rounds` rounds of the fleet (None: up to `stop`); last come those still held back."""
    held = pl.DataFrame()
    first = 0
    while not stop.is_set() and (rounds is None or first < rounds):
        count = rounds_at_once if rounds is None else min(rounds_at_once, rounds - first)
        readings = signals.readings(first, count)
        truth.measured(readings)
        records = inject(readings, faults, truth.garbage, signals.fleet["wear_seconds"].is_null(), (signals.seed, 1, first))
        first += count
        waiting = pl.concat([held, records]) if held.height else records
        leaves = waiting["sent_at"] < signals.start_ms + first * signals.period_ms
        held = waiting.filter(~leaves)
        yield waiting.filter(leaves).sort("sent_at", maintain_order=True)
    yield held.sort("sent_at", maintain_order=True)


async def pace(sink: Taker, records: pl.DataFrame, stop: asyncio.Event) -> float:
    """Send each record when it is due by the clock, on `stop` all at once; returns by how many seconds the worst was late."""
    due_at = records["sent_at"]
    sent = 0
    behind = 0.0
    while sent < records.height:
        now = time.time() * 1000
        due = records.height if stop.is_set() else int(due_at.search_sorted(now, side="right"))
        if due > sent:
            await sink.send(records[sent:due])
            behind = max(behind, time.time() - due_at[sent] / 1000)
            sent = due
        await asyncio.sleep(STEP_SECONDS)
    return behind
