"""`headrace schemas`: hold the schemas of the catalogue against the registry."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from deploy.reach import unknown
from deploy.schemas_history import diff, history
from schemas.catalog import CONTRACTS, Contract
from schemas.protobuf_schema import proto
from schemas.registry import COMPATIBILITY, Registry, RegistryDown, SchemaRefused
from streams.settings import settings

app = typer.Typer(
    no_args_is_help=True,
    help="""Check and register the Avro schemas of schemas/avro/.

Each topic's schema is the registry's subject <topic>-value, held BACKWARD: the new schema must be able to read every record the last one
wrote. So a new field needs a default, a field may be dropped, and a type may only widen (int to long to double).
A breaking change is not registered; write it as a new topic instead.""",
)

app.command()(diff)
app.command()(history)

Topics = Annotated[list[str] | None, typer.Argument(help="Topics of the catalogue; all of them if none is named.")]


@app.command()
def check(topics: Topics = None) -> None:
    """Say whether the registry would take the schemas, and register none.

    Exit status 0: all would be taken. 1: one would be refused, the registry's reasons are printed. 2: the registry does not answer.

    Run it before a deployment, or in CI: headrace schemas check factory.readings
    """
    _each(topics, _check)


@app.command()
def register(topics: Topics = None) -> None:
    """Register the schemas. One that is registered already stays as it is.

    Exit status 0: all are registered. 1: one was refused, the registry's reasons are printed. 2: the registry does not answer.

    Run it after headrace up, and before workers of a new version: headrace schemas register
    """
    _each(topics, _register)


@app.command("proto")
def show_proto(topic: Annotated[str, typer.Argument(help="E.g. factory.readings.")]) -> None:
    """Print the .proto file of a topic's records, for devices that write Protobuf. Exit status 2: its records have none.

    headrace schemas proto factory.readings > reading.proto
    """
    _known([topic])
    try:
        typer.echo(proto(CONTRACTS[topic].codec), nl=False)
    except ValueError as problem:
        raise unknown(str(problem)) from problem


def _check(registry: Registry, contract: Contract) -> str:
    if reasons := registry.check(contract):
        raise SchemaRefused(contract.subject, reasons)
    return "compatible"


def _register(registry: Registry, contract: Contract) -> str:
    _check(registry, contract)
    return f"id {registry.register(contract)}"


def _known(topics: Sequence[str]) -> None:
    for topic in topics:
        if topic not in CONTRACTS:
            raise unknown(f"no topic {topic}; there are {', '.join(CONTRACTS)}")


def _each(topics: list[str] | None, act: Callable[[Registry, Contract], str]) -> None:
    _known(topics or ())
    registry = Registry(settings().registry, settings().data / "schemas")
    refused = False
    for topic in topics or CONTRACTS:
        try:
            typer.echo(f"{topic}: {act(registry, CONTRACTS[topic])}")
        except SchemaRefused as refusal:
            refused = True
            typer.secho(f"{topic}: refused under {COMPATIBILITY} compatibility:", fg="red", err=True)
            for reason in refusal.reasons:
                typer.echo(f"  {reason}", err=True)
            typer.echo("  A new field needs a default, and a type may only widen; see headrace schemas --help.", err=True)
        except RegistryDown as absence:
            typer.secho(f"{absence}\nIs it running? See headrace status, and HEADRACE_REGISTRY.", fg="red", err=True)
            raise typer.Exit(2) from absence
    if refused:
        raise typer.Exit(1)
