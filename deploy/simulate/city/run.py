"""One simulated run of a city: messages as they fall due, storms, and at the end the answers that are still to come."""

import asyncio
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.simulate.city.air import Air
from deploy.simulate.city.delivery import Mix, again, deliveries, heartbeats
from deploy.simulate.city.signals import Signals
from deploy.simulate.city.truth import Truth
from deploy.simulate.delivery import pace
from deploy.simulate.run import Plan
from deploy.simulate.status import Status, told
from streams.clock import now_ms

RESENT_MS: Final = 60_000
"""What a device sends again when it has come back: its last minute."""
LAST_ANSWERS_SECONDS: Final = 180
"""Without a single one, until nobody waits for the others."""


@dataclass
class Storms:
    """When all devices lose their links at once."""

    every_seconds: float
    """0: never."""
    so_far: int = 0

    def __post_init__(self) -> None:
        self._next_at = time.monotonic() + self.every_seconds

    def is_due(self) -> bool:
        """Whether it is time for the next."""
        if not self.every_seconds or time.monotonic() < self._next_at:
            return False
        self._next_at += self.every_seconds
        self.so_far += 1
        return True


async def run(
    plan: Plan,
    signals: Signals,
    mix: Mix,
    storms: Storms,
    air: Air,
    truth: Truth,
    console: Console,
    status_file: Path | None = None,
) -> None:
    """Send everything, or what falls due up to SIGINT or SIGTERM; `air` is open, and closed then."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    behind = 0.0
    sent_until_ms = 0

    def status() -> Status:
        return Status(truth.sent.total(), air.pending, sent_until_ms)

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    async with told(status_file, status):
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("")
            for messages in deliveries(signals, mix, plan.rounds, plan.rounds_at_once, stop):
                await _room(air, stop)
                behind = max(behind, await pace(air, messages, stop))
                sent_until_ms = messages["sent_at"][-1]
                if stop.is_set():
                    break
                if storms.is_due():
                    await _storm(signals, air, messages["sent_at"][-1] + 1, stop)
                rate = truth.sent.total() / (time.monotonic() - started)
                progress.update(task, description=f"{truth.sent.total():,} messages, {rate:,.0f}/s, {air.pending:,} unanswered")
            progress.update(task, description=f"waiting for {air.pending:,} answers")
            await air.finish(LAST_ANSWERS_SECONDS)
    _report(truth, storms, time.monotonic() - started, behind, console)


async def _room(air: Air, stop: asyncio.Event) -> None:
    """Wait until the air can take more, or nobody wants it to."""
    waiting = [asyncio.create_task(coroutine) for coroutine in (air.room(), stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _storm(signals: Signals, air: Air, sent_until_ms: int, stop: asyncio.Event) -> None:
    """All devices at once: gone, back, a heartbeat, and the last minute once more."""
    await air.reconnect()
    await air.send(heartbeats(signals, now_ms()))
    for messages in again(signals, sent_until_ms - RESENT_MS, sent_until_ms):
        await _room(air, stop)
        if stop.is_set():
            return
        await air.send(messages)


def _report(truth: Truth, storms: Storms, seconds: float, behind: float, console: Console) -> None:
    total = truth.sent.total()
    storms_too = f"; {storms.so_far} storms" if storms.so_far else ""
    console.print(
        f"{total:,} messages in {seconds:.1f} s, {total / seconds:,.0f}/s, at worst {behind:.3f} s behind the clock: "
        f"{_listed(truth.sent.items())}{storms_too}",
        soft_wrap=True,
    )
    answers = truth.verdicts
    for protocol in sorted({protocol for protocol, _ in answers}):
        own = {verdict: count for (of, verdict), count in answers.items() if of == protocol}
        console.print(f"{protocol}: {_listed(own.items())}", soft_wrap=True)
    if missing := truth.frame().filter(~pl.col("acknowledged")).height:
        console.print(f"{missing:,} messages were not acknowledged", style="yellow", soft_wrap=True)


def _listed(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts)
