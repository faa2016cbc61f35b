"""`headrace simulate`: a domain's devices, without the devices."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console

from deploy.output.misuse import Misused
from deploy.simulate import kafka_sink, mqtt_sink
from deploy.simulate.city.commands import city
from deploy.simulate.delivery import Sink
from deploy.simulate.faults import Faults
from deploy.simulate.fleet import Wear, fleet
from deploy.simulate.run import Plan, run
from deploy.simulate.sent import Sent
from deploy.simulate.signals import Signals
from deploy.simulate.truth import Truth
from schemas.catalog import READINGS
from schemas.registry import Registry, RegistryDown
from streams.clock import now_ms
from streams.settings import settings

app = typer.Typer(help="Simulate the devices of a domain.", no_args_is_help=True)


class To(StrEnum):
    """Where readings go: to the MQTT broker as devices send them, or straight to Kafka as the gateway does."""

    MQTT = "mqtt"
    KAFKA = "kafka"


@app.callback()
def simulate() -> None:
    """Simulate the devices of a domain."""


app.command()(city)


@app.command()
def factory(
    devices: Annotated[int, typer.Option(min=1, help="Machines, of six sensors each, spread over five plants.")] = 100,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Readings per second of the whole fleet; default: one per sensor.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="Seconds to run, as in life; default: until stopped.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Readings to send at full speed instead; their event time ends now.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same readings, times counted from the start.")] = 0,
    faults: Annotated[str, typer.Option(help="default, none, or e.g. duplicates=0.01,disorder=0.02,late=0.001,garbage=0.001.")] = "default",
    wear: Annotated[
        tuple[float, float],
        typer.Option(metavar="SHORTEST LONGEST", help="Minutes from one repair of a machine that wears out to the next."),
    ] = (0.75, 15),
    to: Annotated[To, typer.Option(help="mqtt as devices do, kafka as the gateway does.")] = To.MQTT,
    formats: Annotated[
        str, typer.Option("--format", help="What devices write over MQTT: json, protobuf or avro; several (json,avro) by device in turn.")
    ] = "json",
    truth: Annotated[Path | None, typer.Option(help="File for what is due: counts by kind and alerts, as JSON lines.")] = None,
    sent: Annotated[
        Path | None, typer.Option(help="Parquet file for what was sent: device_id, sensor_type, sequence, timestamp, fault, acknowledged.")
    ] = None,
    status: Annotated[Path | None, typer.Option(help="JSON file that says each second how the run stands.")] = None,
) -> None:
    """Five plants of machines that drift, wear out and are repaired."""
    if seconds is not None and count is not None:
        raise Misused("--for runs as in life, --count at full speed: choose one")
    try:
        mix = Faults.parse(faults)
    except ValueError as error:
        raise Misused(str(error)) from error
    written = formats.split(",") if to is To.MQTT else ["avro"]
    if unknown := set(written) - mqtt_sink.CONTENT_TYPES.keys():
        raise Misused(f"no format {', '.join(sorted(unknown))}; there are {', '.join(mqtt_sink.CONTENT_TYPES)}")
    channels = fleet(devices, seed, Wear(shortest=60 * wear[0], longest=60 * wear[1]), written)
    log = None if sent is None else Sent(channels)
    known = Truth(channels, {To.MQTT: mqtt_sink.REJECTED, To.KAFKA: {"avro": kafka_sink.REJECTED}}[to], log)
    unacknowledged: list[int] = []
    console = Console(stderr=True)
    problem: Exception | None = None
    try:
        asyncio.run(_factory(channels, seed, rate or channels.height, seconds, count, mix, to, known, console, unacknowledged, status))
    except (mqtt_sink.NoBroker, RegistryDown) as error:
        problem = error
    if truth is not None:
        known.write(truth)
    if sent is not None and log is not None:
        log.write(sent, unacknowledged)
    if problem is not None:
        console.print(str(problem), style="red", soft_wrap=True)
        raise typer.Exit(1) from problem


async def _factory(
    channels: pl.DataFrame,
    seed: int,
    rate: float,
    seconds: float | None,
    count: int | None,
    mix: Faults,
    to: To,
    known: Truth,
    console: Console,
    unacknowledged: list[int],
    status: Path | None,
) -> None:
    sink: Sink = await {To.MQTT: _mqtt, To.KAFKA: _kafka}[to](channels)
    plan = Plan.of(channels.height, rate, seconds, count, now_ms())
    signals = Signals(channels, seed, plan.start_ms, plan.period_ms)
    try:
        await run(plan, signals, mix, sink, known, console, status)
    finally:
        unacknowledged += sink.unacknowledged()


async def _mqtt(channels: pl.DataFrame) -> Sink:
    # no schema is needed to write anything else, nor a registry
    schema_id = await _schema_id() if "avro" in set(channels["format"]) else 0
    sink = mqtt_sink.MqttSink(channels, settings().mqtt, schema_id)
    await sink.open()
    return sink


async def _kafka(channels: pl.DataFrame) -> Sink:
    return kafka_sink.KafkaSink(channels, settings().kafka, await _schema_id())


async def _schema_id() -> int:
    registry = Registry(settings().registry, settings().data / "schemas")
    schema_id = await asyncio.to_thread(registry.register, READINGS)
    await registry.close()
    return schema_id
