"""`headrace sensors`: which sensor types there are and what is critical of each, without a restart."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from agents.domains import DOMAINS
from agents.limits import NOTICE_MS, NUMBERS, Row
from agents.reading import Domain
from agents.row_model import Unfit
from agents.rowfile import Refused, RowFile, parse
from deploy.operator_files import refusal, text_of
from deploy.output.listing import Json, show
from deploy.reach import reached, unknown
from schemas.catalog import SENSORS
from streams import operators
from streams.clock import now_ms
from streams.settings import settings

app = typer.Typer(
    no_args_is_help=True,
    help="""Apply and list sensor types and their limits. A change is in force in every worker two seconds later.

A file is YAML:

\b
domain: factory
sensors:
  - name: flow          # the last level of the MQTT topic, sensor_type of a reading
    unit: l/min         # one in which the range is within -8192 to 8192
    minimum: 0          # a reading below it is invalid
    maximum: 400        # or above this
    critical: 350       # a reading above it raises an alert
    fast: 80            # more than a healthy mean moves from one minute to the next

One that has the name of one in the code stands in its place. A reading is judged by the limits in force when Kafka took it, however late
it is read. Readings of a type that is not known are dead letters: apply it before machines send it.""",
)


@app.command()
def apply(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file of sensor types.")]) -> None:
    """Put the sensor types of a file in force, all or none. Others stay as they are.

    Exit status 0: Kafka has them. 1: one cannot be; its place and what is wrong are printed. 2: Kafka or the registry does not answer.
    """
    try:
        found: RowFile[Row] = parse(text_of(file), "sensors", DOMAINS, _row)
    except Refused as refused:
        raise refusal(file, refused.line, refused.column, refused.problem) from refused
    _write(found.domain, found.rows)
    typer.echo(f"applied to {found.domain}: {', '.join(row.name for row in found.rows)}, in force in {NOTICE_MS // 1000} s")


@app.command()
def retire(
    domain: Annotated[str, typer.Argument(help="E.g. factory.")], name: Annotated[str, typer.Argument(help="The sensor type's.")]
) -> None:
    """Have a sensor type known no longer, one of the code included. Apply it again to have it back.

    Exit status 0: Kafka has it. 1: it is retired already, or unknown. 2: Kafka or the registry does not answer.
    """
    if domain not in DOMAINS:
        raise unknown(f"no domain {domain}; there are {', '.join(DOMAINS)}")
    known = {row["name"]: row for row in _known().get(domain, ())}
    if name not in known:
        raise unknown(f"no sensor type {name} in {domain}; there are {', '.join(known) or 'none'}")
    if known[name]["retired"]:
        raise unknown(f"{domain}/{name} is retired already")
    said = {field: known[name][field] for field in Row.model_fields}
    _write(domain, [Row.model_validate(said | {"retired": True})])
    typer.echo(f"retired {domain}/{name}")


@app.command("list")
def list_sensors(as_json: Json = False) -> None:
    """Show the sensor types there are, those of the code and those applied."""
    found = [{"domain": domain, **row} for domain, rows in _known().items() for row in rows]
    lines = []
    for row in found:
        numbers = ["retired"] + [""] * (len(NUMBERS) - 1) if row["retired"] else [f"{row[number]:g}" for number in NUMBERS]
        lines.append((row["domain"], row["name"], row["unit"], *numbers, row["from"]))
    show(("domain", "sensor", "unit", *NUMBERS, "from"), lines, found, as_json=as_json)


def _row(value: object, domain: Domain) -> Row:
    if domain.limits is None:
        raise Unfit("name", f"{domain.name} has no sensor types")
    return Row.model_validate(value)


def _write(domain: str, rows: list[Row]) -> None:
    with reached():
        asyncio.run(operators.apply(settings(), SENSORS, domain, rows, in_force_at=now_ms() + NOTICE_MS))


def _known() -> dict[str, list[dict[str, Any]]]:
    with reached():
        domains = [operators.with_sensor_types(domain) for domain in DOMAINS.values()]
    return {domain.name: domain.limits.rows for domain in domains if domain.limits}
