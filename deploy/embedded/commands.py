"""`headrace up`, `down`, `status`."""

import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import psutil
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from deploy.embedded import control, processes
from deploy.embedded.artifacts import fetch, missing, pins
from deploy.embedded.errors import StackError
from deploy.embedded.service import Service
from deploy.embedded.stack import ALL, LocalStack, owned
from deploy.output.listing import Json, show, show_json
from deploy.running import running
from streams.settings import Settings, settings

console = Console()


@contextmanager
def in_words() -> Iterator[None]:
    """A command whose foreseeable errors are told in words, with exit code 1."""
    try:
        yield
    except StackError as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@in_words()
def up() -> None:
    """Start broker, registry and MQTT broker in the background; return when they answer."""
    ours = settings()
    # SIGTERM unwinds as Ctrl-C does, so that what was started is stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if control.supervisor(ours):
        control.await_ready(ours)
        console.print("The stack is up already.")
    else:
        download()
        with console.status("starting") as line:
            control.launch(ours, line.update)
    console.print(_table(_services(ours)))
    console.print(f"Data and logs are in {ours.data.resolve()}. Stop with `{_down(ours)}`.", highlight=False, soft_wrap=True)


def _down(ours: Settings) -> str:
    """The command that stops this stack from any terminal, and no other that runs beside it."""
    usual = ours.data == Settings.model_fields["data"].default
    return "headrace down" if usual else f"HEADRACE_DATA={shlex.quote(str(ours.data))} headrace down"


@in_words()
def down() -> None:
    """Stop the stack, whatever state it is in; the data stays."""
    stopped = control.shut_down(settings())
    console.print(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")
    if not stopped:
        _tell_of_others(settings())


def _tell_of_others(ours: Settings) -> None:
    """Say which data folders have a stack that runs, as the usual one is relative to where one stands."""
    for folder in sorted(processes.folders() - {ours.data.resolve()}):
        text = f"A stack runs with its data in {folder}: HEADRACE_DATA={shlex.quote(str(folder))} is what names it."
        console.print(text, highlight=False, soft_wrap=True, markup=False)


@in_words()
def status(as_json: Json = False) -> None:
    """Show what runs and whether it answers; exit code 1 unless everything does, and every worker that runs is ready."""
    ours = settings()
    services, found = _services(ours), [*running(ours)]
    is_well = all(service.answers() for service in LocalStack(ours).services) and all(each.ready for each in found)
    code = int(not is_well)
    if as_json:
        workers = [each._asdict() for each in found]
        show_json({"data": ours.data.resolve(), "services": [each._asdict() for each in services], "workers": workers})
        raise typer.Exit(code)
    console.print(_table(services))
    if found:
        rows = [(each.name, each.state, each.url, each.pid or "", each.lag if each.lag is not None else "") for each in found]
        show(("worker", "state", "address", "pid", "records behind"), rows, rows, as_json=False)
    else:
        console.print("No worker runs here: faust -A streams.factory worker -l info starts one.", highlight=False, soft_wrap=True)
    if not control.supervisor(ours) and processes.find(ours.data):
        console.print(
            "It belongs to a demo in another terminal and ends with it."
            if owned(ours.data)
            else "The supervisor is gone. `headrace up` starts afresh on the same data; `headrace down` stops the rest."
        )
    if not processes.find(ours.data):
        _tell_of_others(ours)
    raise typer.Exit(code)


def download() -> None:
    """Fetch what the services need, with a progress bar where something is missing."""
    wanted = [pin for service in ALL for pin in pins(service)]
    total = missing(wanted)
    if total and not console.is_terminal:
        console.print(f"fetching {total / 1e6:,.0f} MB of Java archives, first start only", soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not total) as bar:
        task = bar.add_task("Kafka, schema registry and MQTT broker, first start only", total=total)
        fetch(wanted, lambda count: bar.advance(task, count))


class Found(NamedTuple):
    """A service of the stack; of its process nothing where there is none."""

    name: str
    state: str
    """`stopped`, `starting` or `ready`."""
    address: str
    pid: int | None = None
    memory_mb: int | None = None
    up_seconds: int | None = None


def _services(ours: Settings) -> list[Found]:
    """Those of the stack, as they are now."""
    there = processes.find(ours.data)
    return [_found(service, there.get(service.name)) for service in LocalStack(ours).services]


def _found(service: Service, process: psutil.Process | None) -> Found:
    place = f"{service.host}:{service.port}"
    if process is None:
        return Found(service.name, "stopped", place)
    try:
        with process.oneshot():
            facts = (process.pid, process.memory_info().rss // 1024**2, round(time.time() - process.create_time()))
    except psutil.NoSuchProcess:
        return Found(service.name, "stopped", place)
    return Found(service.name, "ready" if service.answers() else "starting", place, *facts)


def _table(services: Sequence[Found]) -> Table:
    table = Table("service", "state", "address", "pid", "memory", "up for", box=None)
    for each in services:
        facts = (each.pid, f"{each.memory_mb} MB", timedelta(seconds=each.up_seconds or 0)) if each.pid else ("", "", "")
        table.add_row(each.name, each.state, each.address, *map(str, facts))
    return table
