"""`headrace device add|list|show|retire`: which devices there are, what is registered of them, and how they are."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import polars as pl
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import track

from agents.devices.device_id import fault
from agents.gateway.fleet import Fleet
from agents.gateway.presence import Presence, Status
from agents.gateway.register import registration, row, select
from agents.gateway.registration import Registration, from_csv, problem
from agents.gateway.terms import Terms
from deploy.operator_files import text_of
from deploy.output.listing import Json, show, show_facts
from deploy.output.misuse import Misused
from deploy.output.times import when
from deploy.reach import reached, unknown
from schemas.catalog import DEVICES, PRESENCE
from streams import operators
from streams.clock import now_ms
from streams.settings import settings

app = typer.Typer()
# A second's worth of Kafka and its registry, so that the progress moves.
AT_ONCE: Final = 5_000

Device = Annotated[str, typer.Argument(help="The device's id.")]
Tenant = Annotated[str, typer.Option(help="Whose it is; HEADRACE_TENANT unless said.")]
Type = Annotated[
    str, typer.Option("--type", help="street_light, environment_sensor, parking_sensor, manhole_cover, traffic_camera, or your own.")
]
District = Annotated[str, typer.Option(help="Where it is.")]


@app.command()
def add(
    device: Annotated[str, typer.Argument(help="The device's id; with --csv there is none.")] = "",
    device_type: Type = "",
    tenant: Tenant = "",
    district: District = "",
    protocol: Annotated[str, typer.Option(help="mqtt, coap, http or websocket.")] = "",
    latitude: Annotated[float | None, typer.Option(help="Degrees.")] = None,
    longitude: Annotated[float | None, typer.Option(help="Degrees.")] = None,
    firmware: Annotated[str, typer.Option(help="Its version.")] = "",
    csv: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A file of devices, see below.")] = None,
) -> None:
    """Register a device, or all of a CSV file, in the place of what was registered of them before. Gateways go by it within a second.

    A file's first line names its columns: device_id and device_type, and any of tenant_id, protocol, latitude, longitude, district and
    firmware; every other column is metadata. The options stand for what a line leaves empty. All lines are registered or none.

    Exit status 0: Kafka has them. 1: it cannot be, or lines of the file cannot; each is printed. 2: Kafka or the registry does not answer.
    """
    said: dict[str, Any] = {"device_type": device_type, "district": district, "protocol": protocol, "firmware": firmware}
    said |= {"tenant_id": tenant or settings().tenant}
    if (csv is None) == (not device):
        raise Misused("say one device's id, or a file with --csv")
    devices = _of_file(csv, said) if csv else [_one(said | {"device_id": device, "latitude": latitude, "longitude": longitude})]
    _write(devices)
    typer.echo(f"registered {devices[0].key}" if device else f"registered {len(devices)} devices")


@app.command()
def retire(device: Device, tenant: Tenant = "") -> None:
    """Take a device out of service. What it still sends is as that of an unknown one, or in quarantine where those are accepted.

    Exit status 0: Kafka has it. 1: it is retired already, or unknown. 2: Kafka or the registry does not answer.
    """
    found = _there(tenant or settings().tenant, device)[1]
    if registration(found).retired:
        typer.secho(f"{found.tenant}/{device} is retired already", fg="red", err=True)
        raise typer.Exit(1)
    _write([registration(found).model_copy(update={"retired": True})])
    typer.echo(f"retired {found.tenant}/{device}")


@app.command("show")
def show_device(device: Device, tenant: Tenant = "", as_json: Json = False) -> None:
    """Show all that is known of a device.

    Exit status 1: there is none of that name. 2: Kafka or the registry does not answer.
    """
    fleet, found = _there(tenant or settings().tenant, device)
    told = row(fleet, found, now_ms())
    times = {name: when(told[name]) for name in ("last_seen", "registered_at")}
    show_facts(told if as_json else told | times, as_json=as_json)


@app.command("list")
def list_devices(
    tenant: Annotated[str | None, typer.Option(help="Whose; all tenants' unless said.")] = None,
    device_type: Annotated[str | None, typer.Option("--type", help="E.g. street_light.")] = None,
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="How they are.")] = None,
    district: Annotated[str | None, typer.Option(help="Where they are.")] = None,
    text: Annotated[str, typer.Option(help="In any of their fields, whatever the case.")] = "",
    retired: Annotated[bool, typer.Option("--retired", help="Those out of service, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: Json = False,
) -> None:
    """List devices and how they are."""
    wanted = {"tenant_id": tenant, "device_type": device_type, "status": status, "district": district}
    there = list(select(_fleet(), now_ms(), text=text, retired=retired, **wanted))
    rows = []
    for each in there[:limit]:
        by = "retired" if each["retired"] else "yes" if each["registered"] else "by itself"
        names = [each[name] for name in ("tenant_id", "device_id", "device_type", "district", "status")]
        rows.append((*names, when(each["last_seen"]), by))
    show(("tenant", "device", "type", "district", "status", "last seen", "registered"), rows, there[:limit], as_json=as_json)
    if (more := len(there) - limit) > 0:
        typer.echo(f"and {more} more: see --limit", err=True)


def _there(tenant: str, device: str) -> tuple[Fleet, Presence]:
    """All devices, and one of them."""
    if wrong := fault(device):
        raise unknown(wrong)
    fleet = _fleet()
    found = fleet.devices.get((tenant, device))
    if found is None:
        raise unknown(f"{tenant} has no device {device}")
    return fleet, found


def _one(fields: dict[str, Any]) -> Registration:
    try:
        return Registration.model_validate(fields)
    except ValidationError as wrong:
        raise unknown(problem(wrong)) from wrong


def _of_file(file: Path, unless_said: dict[str, str]) -> list[Registration]:
    devices, misfits = from_csv(text_of(file), unless_said)
    for line, what in misfits:
        typer.secho(f"{file}:{line}: {what}", fg="red", err=True)
    if misfits:
        raise unknown(f"{len(misfits)} lines cannot be: nothing is registered")
    if not devices:
        raise unknown(f"{file} has no devices: nothing is registered")
    return devices


def _write(devices: list[Registration]) -> None:
    """Register devices; each keeps the time it was first registered at."""
    known = {key: registration(each).registered_at for key, each in _fleet().devices.items()}
    now, by = now_ms(), operators.operator()
    fresh = [each.model_copy(update={"registered_at": known.get((each.tenant_id, each.device_id)) or now}) for each in devices]
    starts = range(0, len(fresh), AT_ONCE)
    with reached():
        for start in track(starts, "registering", console=Console(stderr=True), transient=True, disable=len(starts) == 1):
            records = [operators.device_record(each, by) for each in fresh[start : start + AT_ONCE]]
            asyncio.run(operators.write(settings(), DEVICES, pl.DataFrame(records, schema=DEVICES.codec.columns)))


def _fleet() -> Fleet:
    """As the topics have it now."""
    fleet = Fleet(terms=Terms.of(settings().unknown_devices, settings().silence_seconds))
    with reached():
        registered, reports = operators.latest(DEVICES), operators.latest(PRESENCE)
    for unfit in fleet.register(registered.iter_rows(named=True)):
        typer.secho(unfit, fg="yellow", err=True)
    fleet.hear(reports.iter_rows(named=True))
    return fleet
