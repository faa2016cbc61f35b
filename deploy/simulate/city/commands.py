"""`headrace simulate city`."""

import asyncio
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.gateway.message import Source
from deploy.simulate.city.air import Air, reachable, senders
from deploy.simulate.city.delivery import Mix
from deploy.simulate.city.fleet import fleet
from deploy.simulate.city.outgoing import Unreachable
from deploy.simulate.city.run import Storms, run
from deploy.simulate.city.signals import Signals
from deploy.simulate.city.truth import Truth
from deploy.simulate.run import Plan
from streams.base.variables import SIMULATE_TOKEN
from streams.clock import now_ms
from streams.settings import settings


def city(
    devices: Annotated[int, typer.Option(min=1, help="Lights, parking places, cameras, stations and manholes, in eight districts.")] = 1000,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Messages per second of all; default: one from each device in ten.")] = None,
    protocols: Annotated[
        str,
        typer.Option(help="Of mqtt, http, websocket and coap, those the devices speak; default: those the settings have an address for."),
    ] = "",
    duplicates: Annotated[float, typer.Option(min=0, max=0.5, help="Share of the messages that are sent twice.")] = 0.0,
    disorder_seconds: Annotated[float, typer.Option(min=0, help="By how much event times are off, at most, either way.")] = 0.0,
    garbage: Annotated[float, typer.Option(min=0, max=0.5, help="Share of messages beside these that nobody can read.")] = 0.0,
    storm: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="So often all devices lose their links, come back at once and resend a minute.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same messages, times counted from the start.")] = 0,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="Seconds to run; default: until stopped.")] = None,
    tenant: Annotated[
        str, typer.Option(help="What device ids begin with, and whose they are where the gateway knows such a tenant.", metavar="NAME")
    ] = "city",
    token: Annotated[
        str,
        typer.Option(envvar=SIMULATE_TOKEN, help="What devices prove themselves by, but over MQTT; `headrace device token` makes one."),
    ] = "",
    connections: Annotated[int, typer.Option(min=1, help="Over MQTT: so many connections, which the devices share.")] = 20,
    truth: Annotated[
        Path | None, typer.Option(help="Parquet file for what was sent: device_id, kind, protocol, topic, sequence, acknowledged.")
    ] = None,
    status: Annotated[Path | None, typer.Option(help="JSON file that says each second how the run stands.")] = None,
) -> None:
    """A city's devices, each with a protocol of its own and numbered messages.

    Lights burn at night, traffic and bad air come with the rush hours, cars
    park and leave, now and then the cover of a manhole is moved.

    Each device sends in order, and again until it is answered; --truth says
    for which messages somebody took responsibility. Over MQTT that is the
    broker; over HTTP, WebSocket and CoAP it is the gateway, where the settings
    HEADRACE_GATEWAY_HTTP, _WEBSOCKET and _COAP say, the same as its own. It
    lets all devices without a credential together send no more than
    HEADRACE_GATEWAY_DEVICE_RATE messages a second over these; 0: no limit.

    All it can take: --devices 5000 --rate 10000 --protocols mqtt

    A weak network: --duplicates 0.05 --disorder-seconds 60 --storm 120
    """
    ours = settings()
    try:
        spoken = [Source(name) for name in protocols.split(",")] if protocols else reachable(ours)
    except ValueError as error:
        raise typer.BadParameter(f"{error}; there are {', '.join(Source)}", param_hint="--protocols") from error
    channels = fleet(devices, seed, list(dict.fromkeys(spoken)), tenant)
    known = Truth(channels)
    console = Console(stderr=True)

    async def simulated() -> None:
        counts = dict(channels.group_by("protocol").len().iter_rows())
        async with asyncio.TaskGroup() as group:
            air = Air(channels, known, senders(ours, counts, connections, token, f"{tenant}-{secrets.token_hex(3)}", group))
            try:
                await air.open()
                plan = Plan.of(devices, rate or devices / 10, seconds, None, now_ms())
                signals = Signals(channels, seed, plan.start_ms, plan.period_ms, int(disorder_seconds * 1000))
                await run(plan, signals, Mix(duplicates, garbage), Storms(storm), air, known, console, status)
            finally:
                await air.close()

    problem: BaseException | None = None
    try:
        asyncio.run(simulated())
    except* Unreachable as problems:
        problem = problems.exceptions[0]
    if truth is not None:
        known.write(truth)
    if problem is not None:
        console.print(str(problem), style="red", soft_wrap=True)
        raise typer.Exit(1) from problem
