"""One simulated run: signals through faults into a sink, followed by the truth and shown on the terminal."""

import asyncio
import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from deploy.simulate.delivery import Sink, deliveries, pace
from deploy.simulate.faults import Faults
from deploy.simulate.signals import Signals
from deploy.simulate.status import Status, told
from deploy.simulate.truth import Truth

RECORDS_AT_ONCE: Final = 50_000  # at full speed: long columns, some 20 MB
SECONDS_AT_ONCE: Final = 0.25  # live: generated this much ahead


@dataclass(frozen=True)
class Plan:
    """When a run starts, how often it goes round the fleet, and how many readings it makes at once."""

    start_ms: int
    period_ms: float
    rounds: int | None
    rounds_at_once: int
    live: bool

    @classmethod
    def of(cls, channels: int, rate: float, seconds: float | None, count: int | None, now_ms: int) -> "Plan":
        """`rate` readings a second: for `seconds` as in life (None: endless), or `count` (rounded up to whole rounds) that end now."""
        period_ms = channels / rate * 1000
        if count is None:
            rounds = None if seconds is None else math.ceil(seconds * 1000 / period_ms)
            return cls(now_ms + int(SECONDS_AT_ONCE * 1000), period_ms, rounds, max(1, int(SECONDS_AT_ONCE * 1000 / period_ms)), live=True)
        rounds = math.ceil(count / channels)
        return cls(now_ms - math.ceil(rounds * period_ms), period_ms, rounds, max(1, RECORDS_AT_ONCE // channels), live=False)


async def run(
    plan: Plan, signals: Signals, faults: Faults, sink: Sink, truth: Truth, console: Console, status_file: Path | None = None
) -> None:
    """Send everything, or up to SIGINT or SIGTERM what is at hand; `truth` then covers what was sent."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    behind = 0.0
    sent_until_ms = 0

    def status() -> Status:
        return Status(truth.sent.total(), sink.pending, sent_until_ms)

    columns = (TextColumn("{task.completed:,.0f} records"), BarColumn(), TextColumn("{task.fields[rate]:,.0f}/s"), TimeElapsedColumn())
    async with told(status_file, status):
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=plan.rounds and plan.rounds * signals.fleet.height, rate=0)
            for records in deliveries(signals, faults, truth, plan.rounds, plan.rounds_at_once, stop):
                if plan.live:
                    behind = max(behind, await pace(sink, records, stop))
                else:
                    await sink.send(records)
                truth.delivered(records)
                if records.height:
                    sent_until_ms = records["sent_at"][-1]
                progress.update(task, advance=records.height, rate=truth.sent.total() / (time.monotonic() - started))
            await sink.close()
    took = time.monotonic() - started
    late = f", at worst {behind:.3f} s behind the clock" if plan.live else ""
    total, due = truth.sent.total(), len(truth.alerts)
    console.print(f"{total:,} records in {took:.1f} s, {total / took:,.0f}/s{late}; {due} alert changes due", soft_wrap=True)
