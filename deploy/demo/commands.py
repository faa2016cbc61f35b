"""`headrace demo`."""

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from types import FrameType
from typing import Annotated, Final

import orjson
import polars as pl
import typer
from rich.console import Console
from rich.live import Live

from agents.gateway.message import Source
from deploy.demo.figures import Feed, Figures, Reader
from deploy.demo.screen import Screen
from deploy.demo.verdict import judge, judge_city
from deploy.demo.workers import PORTS, Simulator, Worker, with_listeners
from deploy.embedded import control
from deploy.embedded.commands import download, in_words
from deploy.embedded.errors import StackError
from deploy.embedded.service import Service
from deploy.embedded.stack import LocalStack
from schemas.catalog import ALERTS, CITY_READINGS, CITY_WINDOWS, CREDENTIALS, READINGS, WINDOWS
from streams import operators
from streams.settings import Settings, settings
from tables.factory import WINDOWING

REFRESH_SECONDS: Final = 1.0
LINE_SECONDS: Final = 10.0
DRAIN_SECONDS: Final = 60.0
# Until a window closes: the rest of its minute, the allowed disorder, and what a busy machine takes to start the simulators.
MOST_SECONDS_MORE: Final = 60 + WINDOWING.disorder_ms / 1000 + 180

console = Console()


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


@in_words()
def demo(
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="Run so long, and until a window has closed; judge; exit.")] = None,
    devices: Annotated[int, typer.Option(min=5, help="Simulated machines, of six sensors each, a reading a second from each.")] = 300,
    city_devices: Annotated[
        int,
        typer.Option(
            min=10, help="Simulated devices of a city, two messages in three seconds from each, over MQTT, HTTP, WebSocket and CoAP."
        ),
    ] = 300,
) -> None:
    """Run five simulated plants and a city through everything: gateway, Kafka, workers, ClickHouse. Data stays for the next start.

    With --for, exits 0 only if readings and messages reached ClickHouse, windows closed, alerts were raised and every record is accounted
    for.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    ours = with_listeners(settings())
    download()
    wrong: Sequence[str] = ()
    with ExitStack() as running:
        try:
            running.enter_context(_stack(ours))
            protocols = _protocols(ours)
            wrong = _run(ours, running, seconds, (Simulator.of_factory(ours, devices), Simulator.of_city(ours, city_devices, protocols)))
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


def _protocols(ours: Settings) -> Sequence[str]:
    """What the city's devices speak: everything, unless an operator has given devices credentials, which these do not have."""
    if ours.tenant not in set(operators.latest(CREDENTIALS)["tenant"]):
        return [*Source]
    _say("there are devices with credentials: the simulated city, which has none, sends over MQTT only")
    return [Source.MQTT]


def _run(ours: Settings, running: ExitStack, seconds: float | None, simulators: Sequence[Simulator]) -> Sequence[str]:
    workers = {name: Worker(ours, name) for name in PORTS}
    _say("starting the workers")
    for worker in workers.values():
        running.callback(worker.stop)
        worker.start()
    for worker in workers.values():
        worker.wait()
        _say(f"{worker.name}: {worker.url('/ready')}, log {worker.log}")
    _say(f"devices: http://{ours.gateway_http}/messages, ws://{ours.gateway_websocket}/messages, coap://{ours.gateway_coap}/messages")
    with closing(Reader(ours, workers)) as reader, closing(Feed(ours)) as feed:
        before = reader.read()
        for simulator in simulators:
            running.callback(simulator.stop)
            simulator.start()
        _watch(reader, feed, [*workers.values(), *simulators], before, seconds)
        for simulator in simulators:
            simulator.stop()
        after = _drained(reader, feed, [*workers.values()])
        if silent := [simulator for simulator in simulators if not simulator.truth.exists()]:
            unknown = [f"nobody knows what was sent: {simulator.ended()}" for simulator in silent]
            if seconds is not None:
                return unknown
            _say("\n".join(["stopped before there was anything to sum up", *unknown]))
            return []
        of_factory, of_city = (simulator.truth for simulator in simulators)
        truth = orjson.loads(of_factory.read_bytes().splitlines()[0])
        told = pl.read_parquet(of_city)
        _summary(before, after, feed, truth["sent"], told)
        if seconds is None:
            return []
        return [
            *judge(before, after, truth["sent"], truth["good"], feed.raised("factory")),
            *judge_city(before, after, told, feed.raised("city")),
        ]


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
            _say("stopping: the simulators first, then what they feed")


def _is_over(overtime: float, before: Figures, reader: Reader) -> bool:
    """Whether the time is over and windows have closed, or it is high time."""
    if not 0 < overtime <= MOST_SECONDS_MORE:
        return overtime > 0
    ends = reader.read().ends
    return all(ends[windows.topic] > before.ends[windows.topic] for windows in (WINDOWS, CITY_WINDOWS))


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
        still = not any(figures.lag.values()) and _counts(figures) == _counts(last)
        last, same = figures, same + 1 if still else 0
    return last


def _counts(figures: Figures) -> tuple[object, ...]:
    return figures.ends, figures.gateway, figures.ledger, figures.devices, figures.measurements


def _summary(before: Figures, after: Figures, feed: Feed, sent: int, told: pl.DataFrame) -> None:
    new = {topic: end - before.ends[topic] for topic, end in after.ends.items()}
    p50, p99 = feed.delay_ms(50), feed.delay_ms(99)
    delays = "" if p50 is None or p99 is None else f", measured to alert in Kafka p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    _say(f"MQTT: {sent:,} messages sent, gateway {dict(after.gateway)}")
    by_protocol = dict(told.filter("acknowledged").group_by("protocol", maintain_order=True).len().sort("protocol").iter_rows())
    _say(f"city: {told.height:,} messages, acknowledged {by_protocol}, the gateway's ledger {dict(after.devices)}")
    _say(f"Kafka: {', '.join(f'{count:,} {topic}' for topic, count in new.items() if count)}")
    _say(f"alerts: {', '.join(f'{count} {domain} {status}' for (domain, status), count in sorted(feed.changes.items()))}{delays}")
    _say(f"ledger of {READINGS.topic}: {dict(after.ledger)}")
    _say(f"ledger of {CITY_READINGS.topic}: {dict(after.measurements)}")
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
