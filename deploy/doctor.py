"""`headrace doctor`: everything a worker depends on, looked at from here, and what to do about what is not well."""

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

import httpx
import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console
from rich.table import Table

from deploy.embedded.errors import StackError
from deploy.embedded.preflight import require_disk
from schemas.catalog import CHANGELOGS, CONTRACTS
from schemas.registry import Registry, RegistryDown
from streams.assembly import NotReady, require_topics
from streams.clickhouse import CannotOpen, ClickHouse, ClickHouseAway
from streams.mqtt import connect, version_probe
from streams.settings import Settings, settings
from tables.factory import WINDOWING

TIMEOUT_SECONDS: Final = 5


class Ill(Exception):
    """What is not well, and what to do about it."""

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(finding)
        self.finding, self.remedy = finding, remedy


def kafka(ours: Settings) -> str:
    """Whether the brokers answer."""
    try:
        cluster = AdminClient({"bootstrap.servers": ours.kafka, "log_level": 0}).list_topics(timeout=TIMEOUT_SECONDS)
    except KafkaException as error:
        raise Ill(f"{ours.kafka} does not answer: {error.args[0].str()}", "headrace up, or set HEADRACE_KAFKA") from error
    return f"{ours.kafka}, {len(cluster.brokers)} brokers"


def topics(ours: Settings) -> str:
    """Whether every topic and changelog is there, with the catalogue's partitions."""
    kafka(ours)
    wanted = {c.topic: c.partitions for c in CONTRACTS.values()} | {name: source.partitions for name, source in CHANGELOGS.items()}
    try:
        require_topics(ours.kafka, wanted)
    except NotReady as missing:
        raise Ill(str(missing), "headrace topics makes those that are missing") from missing
    return f"{len(wanted)} are there"


def registry(ours: Settings) -> str:
    """Whether the schema registry answers."""
    try:
        httpx.get(f"{ours.registry}/subjects", timeout=TIMEOUT_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        raise Ill(f"{ours.registry} does not answer: {error}", "headrace up, or set HEADRACE_REGISTRY") from error
    return ours.registry


def schemas(ours: Settings) -> str:
    """Whether the registry has, or would take, the schemas of this version."""
    known = Registry(ours.registry, ours.data / "schemas")
    try:
        refused = {contract.topic: reasons for contract in CONTRACTS.values() if (reasons := known.check(contract))}
    except RegistryDown as absence:
        raise Ill(str(absence), "headrace up, or set HEADRACE_REGISTRY") from absence
    if refused:
        raise Ill(
            f"refused: {'; '.join(f'{topic}: {reasons[0]}' for topic, reasons in refused.items())}", "headrace schemas check says more"
        )
    return f"{len(CONTRACTS)} fit"


def mqtt(ours: Settings) -> str:
    """Whether the MQTT broker takes a connection."""
    answered, clients = threading.Event(), []

    def dial(protocol: int) -> None:
        client = Client(CallbackAPIVersion.VERSION2, protocol=protocol)  # type: ignore[arg-type]
        client.on_connect = lambda *_: answered.set() if not _[3].is_failure else None
        clients.append(client)
        connect(client, ours.mqtt)

    probe = version_probe(dial)
    connect(probe, ours.mqtt)
    well = answered.wait(TIMEOUT_SECONDS)
    for client in (probe, *clients):
        client.disconnect()
        client.loop_stop()
    place = ours.mqtt.rpartition("@")[2]
    if not well:
        raise Ill(f"{place} takes no connection", "headrace up, or set HEADRACE_MQTT, with user:password@ where it asks for them")
    return place


def clickhouse(ours: Settings) -> str:
    """Whether the warehouse's engine can be used; the embedded one belongs to its worker and is looked at from outside."""
    if not ours.clickhouse:
        return f"embedded, in {ours.data / 'clickhouse'}"
    server = ClickHouse(ours.clickhouse, ours.data)
    try:
        version = server.query("SELECT version() AS version")["version"][0]
    except (ClickHouseAway, CannotOpen) as absence:
        raise Ill(str(absence), "start it, or set HEADRACE_CLICKHOUSE") from absence
    finally:
        server.close()
    return f"{server.place}, version {version}"


def centre(ours: Settings) -> str:
    """Whether the centre would take what a plant's uplink carries, where one is set."""
    if not ours.centre:
        return "none: set HEADRACE_CENTRE where an uplink is to run"
    there = ours.model_copy(update={"kafka": ours.centre, "registry": ours.centre_registry})
    try:
        kafka(there)
        require_topics(there.kafka, {c.topic: c.partitions for c in CONTRACTS.values() if c.central})
        return f"{kafka(there)}; {registry(there)}"
    except Ill as absence:
        raise Ill(absence.finding, "start it there, or set HEADRACE_CENTRE and HEADRACE_CENTRE_REGISTRY") from absence
    except NotReady as missing:
        raise Ill(str(missing), "headrace topics, with HEADRACE_KAFKA set to the centre's, makes those that are missing") from missing


def clock(ours: Settings) -> str:
    """Whether this clock and the registry's agree; both are cut to seconds."""
    try:
        answer = httpx.head(f"{ours.registry}/subjects", timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise Ill("the registry, whose clock it is held against, does not answer", "headrace up, or set HEADRACE_REGISTRY") from error
    if "date" not in answer.headers:
        return "the registry does not tell the time"
    ahead = time.time() - parsedate_to_datetime(answer.headers["date"]).timestamp()
    if abs(ahead) > WINDOWING.disorder_ms / 1000:
        raise Ill(
            f"{ahead:+.0f} s from the registry's", "have both machines follow NTP: readings would close windows too early, or be late"
        )
    return f"within {max(1, abs(ahead)):.0f} s of the registry's"


def disk(ours: Settings) -> str:
    """Whether the data folder can be written and has room."""
    try:
        require_disk(ours.data)
    except StackError as error:
        raise Ill(str(error), "make room, or set HEADRACE_DATA") from error
    return str(ours.data.resolve())


CHECKS: Final[tuple[Callable[[Settings], str], ...]] = (kafka, topics, registry, schemas, centre, mqtt, clickhouse, clock, disk)


def doctor() -> None:
    """Look at everything the workers depend on, and say what to do about what is not well.

    Exit status 0: all is well. 1: something is not.
    """
    table = Table("", "what", "found", "do", box=None)
    ill = 0
    for check in CHECKS:
        finding, remedy = examine(partial(check, settings()))
        ill += bool(remedy)
        table.add_row("[red]✗[/]" if remedy else "[green]✓[/]", check.__name__, finding, remedy)
    Console().print(table)
    if ill:
        raise typer.Exit(1)


def examine(check: Callable[[], str]) -> tuple[str, str]:
    """What a check found, and the remedy; none if all is well."""
    try:
        return check(), ""
    except Ill as ill:
        return ill.finding, ill.remedy
    except OSError as error:
        return f"cannot be written: {error}", "set HEADRACE_DATA to a folder that can"
