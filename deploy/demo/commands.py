"""`headrace demo`."""

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from types import FrameType
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.live import Live

from deploy.demo.figures import Feed, Figures, Reader
from deploy.demo.screen import Screen
from deploy.demo.verdict import judge
from deploy.demo.workers import PORTS, Simulator, Worker
from deploy.embedded import control
from deploy.embedded.commands import download, in_words
from deploy.embedded.errors import StackError
from deploy.embedded.service import Service
from deploy.embedded.stack import LocalStack
from schemas.catalog import ALERTS, READINGS, WINDOWS
from streams.settings import Settings, settings
from tables.factory import WINDOWING

REFRESH_SECONDS: Final = 1.0
LINE_SECONDS: Final = 10.0
DRAIN_SECONDS: Final = 60.0
# Until a window closes: the rest of its minute, the allowed disorder, and the start of the simulator.
MOST_SECONDS_MORE: Final = 60 + WINDOWING.disorder_ms / 1000 + 15

console = Console()


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


@in_words()
def demo(
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="Run so long, and until a window has closed; judge; exit.")] = None,
    devices: Annotated[int, typer.Option(min=5, help="Simulated machines, of six sensors each, a reading a second from each.")] = 300,
) -> None:
    """Run the whole line with five simulated plants: MQTT, gateway, Kafka, factory worker, ClickHouse. Data stays for the next start.

    With --for, exits 0 only if readings reached ClickHouse, windows closed, alerts were raised and every record is accounted for.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    ours = settings()
    download()
    wrong: Sequence[str] = ()
    with ExitStack() as running:
        try:
            running.enter_context(_stack(ours))
            wrong = _run(ours, running, seconds, devices)
        except Stopped:
            wrong = ["stopped before it was done"]
        # what follows must not be cut short by an impatient second Ctrl-C
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    for problem in wrong:
        console.print(f"WRONG: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Data and logs are in {ours.data.resolve()}.", highlight=False, soft_wrap=True)
    if wrong:
        raise typer.Exit(1)


def _stack(ours: Settings) -> AbstractContextManager[object]:
    """The stack that runs already, or one of our own."""
    if control.supervisor(ours):
        control.await_ready(ours)
        return nullcontext()
    return LocalStack(ours, report=_say)


def _run(ours: Settings, running: ExitStack, seconds: float | None, devices: int) -> Sequence[str]:
    workers = {name: Worker(ours, name) for name in PORTS}
    simulator = Simulator(ours, devices)
    started: list[Service] = [*workers.values()]
    _say("starting the workers")
    for worker in workers.values():
        running.callback(worker.stop)
        worker.start()
    for worker in workers.values():
        worker.wait()
        _say(f"{worker.name}: {worker.url('/ready')}, log {worker.log}")
    with closing(Reader(ours, workers)) as reader, closing(Feed(ours)) as feed:
        before = reader.read()
        running.callback(simulator.stop)
        simulator.start()
        started.append(simulator)
        _watch(reader, feed, started, before, seconds)
        simulator.stop()
        after = _drained(reader, feed, started[:-1])
        truth = orjson.loads(simulator.truth.read_bytes().splitlines()[0])
        _summary(before, after, feed, truth["sent"])
        return (
            [] if seconds is None else judge(before, after, truth["sent"], truth["good"], feed.changes["RAISED"] + feed.changes["REOPENED"])
        )


def _watch(reader: Reader, feed: Feed, started: Sequence[Service], before: Figures, seconds: float | None) -> None:
    """Show figures until the time is over or somebody stops it."""
    screen = Screen()
    started_at, next_line = time.monotonic(), time.monotonic() + LINE_SECONDS
    with Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else nullcontext() as live:
        try:
            while seconds is None or not _is_over(time.monotonic() - started_at - seconds, before, reader):
                feed.poll(REFRESH_SECONDS)
                for service in started:
                    if not service.running:
                        raise StackError(service.ended())
                if live is not None:
                    live.update(screen.render(reader.read(), feed), refresh=True)
                elif time.monotonic() > next_line:
                    next_line += LINE_SECONDS
                    _say(screen.line(reader.read(), feed))
        except Stopped:
            if seconds is not None:
                raise
            _say("stopping: the simulator first, then what it feeds")


def _is_over(overtime: float, before: Figures, reader: Reader) -> bool:
    """Whether the time is over and a window has closed, or it is high time."""
    return overtime > MOST_SECONDS_MORE or (overtime > 0 and reader.read().ends[WINDOWS.topic] > before.ends[WINDOWS.topic])


def _drained(reader: Reader, feed: Feed, started: Sequence[Service]) -> Figures:
    """The figures once everything sent has gone all the way, or DRAIN_SECONDS have passed."""
    deadline = time.monotonic() + DRAIN_SECONDS
    last, same = reader.read(), 0
    while same < 3 and time.monotonic() < deadline:
        feed.poll(REFRESH_SECONDS)
        for service in started:
            if not service.running:
                raise StackError(service.ended())
        figures = reader.read()
        still = not any(figures.lag.values()) and (figures.ends, figures.gateway, figures.ledger) == (last.ends, last.gateway, last.ledger)
        last, same = figures, same + 1 if still else 0
    return last


def _summary(before: Figures, after: Figures, feed: Feed, sent: int) -> None:
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    p50, p99 = feed.delay_ms(50), feed.delay_ms(99)
    delays = "" if p50 is None or p99 is None else f", measured to alert in Kafka p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    _say(f"MQTT: {sent:,} messages sent, gateway {dict(after.gateway)}")
    _say(f"Kafka: {', '.join(f'{count:,} {topic}' for topic, count in new.items())}")
    _say(f"alerts: {dict(feed.changes)}{delays}")
    _say(f"ledger of {READINGS.topic}: {dict(after.ledger)}")
    _say(f"ClickHouse rows: {dict(after.rows)}")
    _say(f"{new[READINGS.topic]:,} readings, {new[WINDOWS.topic]:,} window results, {new[ALERTS.topic]:,} alert changes in this run")


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _stop(number: int, frame: FrameType | None) -> None:
    # a second signal while everything stops changes nothing
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(demo())
