"""`headrace demo`."""

import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from types import FrameType
from typing import Annotated, Final

import polars as pl
import typer
from confluent_kafka import KafkaException
from rich.console import Console

from deploy.demo import trace
from deploy.demo.credential import AWAY, credential
from deploy.demo.feed import Feed
from deploy.demo.figures import Figures, Reader
from deploy.demo.line import Line
from deploy.demo.simulators import CitySimulator, FactorySimulator
from deploy.demo.summary import by_protocol, summary
from deploy.demo.verdict import unshown
from deploy.demo.workers import PORTS, Worker, with_listeners
from deploy.embedded import control
from deploy.embedded.commands import download, in_words
from deploy.embedded.stack import LocalStack
from deploy.patience import answered
from streams.settings import Settings, settings

INTERRUPTED: Final = 130
"""Exit code of who was stopped by Ctrl-C."""

console = Console()


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


@in_words()
def demo(
    seconds: Annotated[
        float | None, typer.Option("--for", min=1, help="Run so long, and until windows closed and alerts came; judge; exit.")
    ] = None,
    devices: Annotated[int, typer.Option(min=5, help="Simulated machines, of six sensors each, a reading a second from each.")] = 75,
    city_devices: Annotated[
        int,
        typer.Option(
            min=10, help="Simulated devices of a city, two messages in three seconds from each, over MQTT, HTTP, WebSocket and CoAP."
        ),
    ] = 225,
) -> None:
    """Run five simulated plants and a city through everything: gateway, Kafka, workers, ClickHouse. Data stays for the next start.

    Ctrl-C ends it. Exits 0 only if every message sent is accounted for in Kafka, the workers and ClickHouse; with --for also only if
    windows closed, alerts were raised and every protocol was used. A slow machine takes longer, and it says what it waits for.
    """
    _listen(_stop)
    ours = settings()
    wrong: Sequence[str] | None = None
    with ExitStack() as running:
        try:
            download()
            running.enter_context(_stack(ours))
            # not before the stack listens: a port that Kafka is about to take is free until then
            wrong = _run(with_listeners(ours), running, seconds, devices, city_devices)
        except Stopped:
            wrong = None
        # what follows must not be cut short by an impatient second Ctrl-C
        _listen(signal.SIG_IGN)
        _say("stopping the workers, then the registry, Kafka and the MQTT broker")
    for problem in wrong or ():
        console.print(f"WRONG: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    _say(f"Data and logs are in {ours.data.resolve()}.")
    if wrong is None:
        _say("Stopped before its time: nothing was judged.")
        raise typer.Exit(INTERRUPTED)
    if wrong:
        raise typer.Exit(1)
    _say("Ended, all well: every reading and message is accounted for.")


def _stack(ours: Settings) -> AbstractContextManager[object]:
    """The stack that runs already, or one of our own."""
    if control.supervisor(ours):
        control.await_ready(ours)
        return nullcontext()
    return LocalStack(ours, report=_say)


def _run(ours: Settings, running: ExitStack, seconds: float | None, devices: int, city_devices: int) -> Sequence[str] | None:
    """What is wrong, in words; None if it was stopped before there was anything to judge."""
    token = running.enter_context(credential(ours, _say))
    if token:
        _say("devices need a credential here: the simulated city has one of its own, which is taken back at the end")
    workers = [Worker(ours, name) for name in PORTS]
    _say("starting the workers")
    for worker in workers:
        running.callback(worker.stop)
        worker.start()
    for worker in workers:
        worker.wait(_say)
        _say(f"{worker.name}: {worker.url('/ready')}, log {worker.log}")
    _say(f"devices: http://{ours.gateway_http}/messages, ws://{ours.gateway_websocket}/messages, coap://{ours.gateway_coap}/messages")
    reader = running.enter_context(closing(Reader(ours, {worker.name: worker for worker in workers})))
    answered(reader.read, KafkaException, _say)
    feed = running.enter_context(closing(answered(lambda: Feed(ours), AWAY, _say)))
    line = Line(workers, FactorySimulator(ours, devices), CitySimulator(ours, city_devices, token), reader, feed, _say)
    for simulator in line.simulators:
        running.callback(simulator.stop)
        simulator.start()
    try:
        line.show(seconds, console)
    except Stopped:
        if seconds is not None:
            raise
        _listen(_stop)
        _say("Ctrl-C again ends it at once, unjudged")
    line.silence()
    if silent := [simulator.ended() for simulator in line.simulators if not simulator.sent.exists()]:
        return [f"nobody knows what was sent: {ended}" for ended in silent] if seconds is not None else None
    return _judged(line, workers, seconds is not None)


def _judged(line: Line, workers: Sequence[Worker], whole: bool) -> Sequence[str]:
    factory, city = (pl.read_parquet(simulator.sent) for simulator in line.simulators)
    after, wrong = line.settled(factory, city)
    console.print(summary(line.begin, after, line.feed, factory, city))
    if line.pace.was_behind:
        _say(f"This machine fell behind, by {line.pace.worst_seconds:.0f} s at worst: the times above are the machine's.")
    found = _traced(line, after, workers, factory, city) if wrong else []
    if whole:
        raised = {domain: line.feed.raised(domain) for domain in ("factory", "city")}
        wrong = [*wrong, *unshown(line.begin, after, raised, by_protocol(city))]
    return [*wrong, *found]


def _traced(line: Line, after: Figures, workers: Sequence[Worker], factory: pl.DataFrame, city: pl.DataFrame) -> list[str]:
    """Names what is missing, and writes down all of it."""
    _say("looking for what is missing")
    (warehouse,) = (worker for worker in workers if worker.name == "warehouse")
    file = warehouse.folder.parent / "missing.csv"
    ask = trace.asking(warehouse.url)
    found = pl.concat([trace.of_factory(factory, line.started_ms, ask), trace.of_city(city, line.started_ms, ask)])
    found.write_csv(file)
    return [*trace.in_words(found, str(file))]


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _listen(handler: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)  # type: ignore[arg-type]  # a function or SIG_IGN


def _stop(number: int, frame: FrameType | None) -> None:
    # a second signal while everything stops changes nothing
    _listen(signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(demo())
