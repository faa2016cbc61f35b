"""`headrace groups`: devices that are told things together."""

import asyncio
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from pydantic import ValidationError

from agents.gateway.groups import Group
from deploy.operator_files import text_of
from deploy.output.listing import Json, show
from deploy.reach import reached, unknown
from schemas.catalog import DEVICE_GROUPS
from streams import operators
from streams.settings import settings

app = typer.Typer(
    no_args_is_help=True,
    help="""Say which devices are told things together (headrace command send --group …). In force in every gateway within a second.

\b
headrace groups set riverside-lights lamp-1 lamp-2 --data-type lighting --district riverside
headrace groups set riverside-lights --file lamps.txt
headrace groups set riverside-lights              # without devices: it is no more
headrace groups list""",
)


@app.command("set")
def set_group(
    name: Annotated[str, typer.Argument(help="The group's.")],
    devices: Annotated[list[str] | None, typer.Argument(help="Ids of all its devices.")] = None,
    file: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A file of ids, by lines or spaces.")] = None,
    data_type: Annotated[str, typer.Option(help="What they are, e.g. lighting.")] = "",
    district: Annotated[str, typer.Option(help="Where they are.")] = "",
    tenant: Annotated[str, typer.Option(help="Whose they are; HEADRACE_TENANT's unless said.")] = "",
) -> None:
    """Say which devices a group has, in the place of those it had.

    Exit status 0: Kafka has it. 1: it cannot be, or without devices: there is no such group. 2: Kafka or the registry does not answer.
    """
    ids = " ".join(dict.fromkeys([*(devices or ()), *(text_of(file).split() if file else ())]))
    whose = tenant or settings().tenant
    try:
        group = Group(tenant=whose, name=name, data_type=data_type, district=district, devices=ids)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False)[0]
        raise unknown(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from wrong
    with reached():
        if not ids and operators.latest(DEVICE_GROUPS).filter(pl.col("devices") != "", tenant=whose, name=name).is_empty():
            raise unknown(f"{whose} has no group {name} to end: say its devices, or --file")
        asyncio.run(operators.apply(settings(), DEVICE_GROUPS, whose, [group]))
    typer.echo(f"{whose}/{name}: {len(ids.split())} devices")


@app.command("list")
def list_groups(as_json: Json = False) -> None:
    """Show the groups that are in force."""
    with reached():
        records = operators.latest(DEVICE_GROUPS)
    found = [row | {"devices": row["devices"].split()} for row in records.sort(["tenant", "name"]).iter_rows(named=True) if row["devices"]]
    rows = [(row["tenant"], row["name"], row["data_type"], row["district"], len(row["devices"])) for row in found]
    show(("tenant", "group", "data type", "district", "devices"), rows, found, as_json=as_json)
