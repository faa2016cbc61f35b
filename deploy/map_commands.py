"""`headrace map`: where devices' messages go, as operators say, without a restart."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer

from agents.gateway.envelopes import Delivery, envelop
from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.message import Post, Sender, Source
from agents.gateway.place import ENVELOPE, Place
from agents.rowfile import Refused, parse_rows
from deploy.operator_files import refusal, text_of
from deploy.output.listing import Json, show
from deploy.reach import reached, unknown
from schemas.catalog import CONTRACTS, MAPPINGS
from schemas.reference import read_record
from streams import operators
from streams.access import named
from streams.clock import now_ms
from streams.settings import settings
from streams.topics import create_missing

GATEWAY: Final = "gateway"
app = typer.Typer(
    no_args_is_help=True,
    help="""Say which Kafka topic the messages of an MQTT topic, or of a path that devices post to, go to. A change is in force in every
gateway within two seconds.

A file is YAML:

\b
mappings:
  - pattern: bins/+/level            # MQTT topic filter; the one whose first levels are literal for longer counts
    topic: iot.devices.raw           # Kafka topic; {1} is what the pattern's first wildcard matched
    data_type: waste                 # what the messages are, for those who read them
    device: "{1}"                    # the device's name ("{1}")
    priority: NORMAL                 # LOW, NORMAL, HIGH or CRITICAL: what leaves a gateway's disk first
    qos: 1                           # what devices are to publish with at least
    layout: level:u1 battery_mv:>u2  # optional: the fields of a binary payload, NumPy's type codes, /10 for tenths
    time: ts                         # optional: the member that says when it was measured ("timestamp")
    time_unit: s                     # s, ms, us, ns, or iso8601 for a text with a zone (ms)

What no row matches goes to iot.raw.<what the device's name has before its first _>. A row of the pattern of one in the code stands in its
place. A Kafka topic with places begins with a word and a dot, and is none of Headrace's own. Messages of a row whose data_type is
host-command are what hosts tell devices: they are not kept, and no sign of life.""",
)
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file of rows.")]


@app.command("test")
def show_target(
    topic: Annotated[str, typer.Argument(help="What a device would publish to, e.g. lights/l-1/status.")],
    payload: Annotated[str, typer.Argument(help="What it would publish.")] = "{}",
    file: Annotated[Path | None, typer.Option("--with", exists=True, dir_okay=False, help="A file of rows not applied yet.")] = None,
    tenant: Annotated[str, typer.Option(help="Whose device it would be; default: as the mapping or the device's name says.")] = "",
    content_type: Annotated[str, typer.Option(help="E.g. application/protobuf; default: JSON.")] = "",
) -> None:
    """Show where a message would go and what it would become. Changes nothing.

    Exit status 0: shown. 1: it would be a dead letter. 2: Kafka or the registry does not answer.

    headrace map test parking/p-7/occupancy '{"occupied": true, "sequence": 1}'
    """
    more = _parse(file) if file else []
    with reached():
        routes = Routes([*_rows().values(), *more])
    place = Place("gateway-0", f"{now_ms():x}", settings().tenant, frozenset(filter(None, [tenant, *settings().tenants.split(",")])))
    place.adopt(routes)
    message = Post(topic, payload.encode(), content_type=content_type)
    made = envelop([Delivery([message], Source.MQTT, Sender(tenant), now_ms())], place, 0, now_ms())
    for reject in made.rejects:
        typer.secho(f"dead letter: {reject.reason}: {reject.detail}", fg="red", err=True)
        raise typer.Exit(1)
    if made.coalesced:
        typer.echo("no data, and not kept: a sign of life or of death, noted in the topic device-presence, or what a host says")
        return
    by_name = "none matches: by the device's name"
    for address, headers, value in zip(made.addresses, made.headers, made.values, strict=True):
        envelope = read_record(ENVELOPE, value)
        if defect := envelope["defect"]:
            typer.secho(f"not decoded: {defect}", fg="yellow", err=True)
        typer.echo(f"pattern: {address.target.pattern or by_name}")
        typer.echo(f"topic:   {address.topic}")
        typer.echo(f"key:     {address.key.decode()}")
        typer.echo(f"headers: {', '.join(f'{name}={word.decode()}' for name, word in headers)}")
        typer.echo(orjson.dumps(envelope, option=orjson.OPT_INDENT_2).decode())


@app.command()
def apply(file: File) -> None:
    """Put the rows of a file in force, all or none, and make the Kafka topics that they name. Others stay as they are.

    Exit status 0: Kafka has them. 1: one cannot be. 2: Kafka or the registry does not answer.
    """
    rows = _parse(file)
    with reached():
        # one that has places is made with its first message
        made = create_missing(settings().kafka, map(named, {row.topic for row in rows if "{" not in row.topic} - CONTRACTS.keys()))
        for topic, error in made.refused.items():
            typer.echo(f"Kafka will not have the topic {topic}: {error.str()}", err=True)
        if made.refused:
            typer.echo("no row was applied", err=True)
            raise typer.Exit(1)
        asyncio.run(operators.apply(settings(), MAPPINGS, GATEWAY, rows))
    typer.echo(f"applied: {', '.join(row.pattern for row in rows)}")


@app.command()
def retire(pattern: Annotated[str, typer.Argument(help="The row's, e.g. bins/+/level.")]) -> None:
    """Have a row match nothing more, one of the code included. Apply it again to have it back.

    Exit status 0: Kafka has it. 1: it is retired already, or unknown. 2: Kafka or the registry does not answer.
    """
    with reached():
        rows = _rows()
        if pattern not in rows:
            raise unknown(f"no row {pattern}; there are {', '.join(rows)}")
        if rows[pattern].retired:
            raise unknown(f"{pattern} is retired already")
        asyncio.run(operators.apply(settings(), MAPPINGS, GATEWAY, [rows[pattern].model_copy(update={"retired": True})]))
    typer.echo(f"retired {pattern}")


@app.command("list")
def list_rows(as_json: Json = False) -> None:
    """Show the rows, those of the code and those applied."""
    with reached():
        rows = [(row, "retired" if row.retired else "code" if row in DEFAULT else "applied") for row in _rows().values()]
    lines = [(row.pattern, row.topic, row.data_type, row.device, row.priority, row.qos, state) for row, state in rows]
    found = [row.model_dump(mode="json") | {"state": state} for row, state in rows]
    show(("pattern", "topic", "data type", "device", "priority", "qos", "state"), lines, found, as_json=as_json)


def _rows() -> dict[str, Row]:
    """By pattern, as gateways have them."""
    return {row.pattern: row for row in (*DEFAULT, *map(Row.of, operators.latest(MAPPINGS).iter_rows(named=True)))}


def _parse(file: Path) -> list[Row]:
    try:
        return parse_rows(text_of(file), "mappings", Row.model_validate, "map")
    except Refused as refused:
        raise refusal(file, refused.line, refused.column, refused.problem) from refused
