"""`headrace schemas diff` and `history`: how a topic's schema has changed, and what that means."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.reach import reached
from schemas.catalog import CONTRACTS, Contract
from schemas.changes import Change, changes
from schemas.codec import Codec
from schemas.registry import Registry, Version
from streams.settings import settings

Topic = Annotated[str, typer.Argument(help="A topic of the catalogue, or its subject; e.g. factory.readings.")]


def diff(
    topic: Topic,
    older: Annotated[int | None, typer.Option("--from", min=1, help="A version of the registry; default: its latest.")] = None,
    newer: Annotated[int | None, typer.Option("--to", min=1, help="A version of the registry; default: this program's schema.")] = None,
) -> None:
    """Show what differs between two versions of a topic's schema, field by field, and what that means for readers and writers.

    Exit status 0: the newer reads every record of the older (BACKWARD), or they do not differ. 1: it does not. 2: the registry does not
    answer, or has no such version.

    headrace schemas diff factory.readings --from 1 --to 2
    """
    contract = _contract(topic)
    versions = _versions(contract)
    if older is None and not versions:
        raise typer.BadParameter(f"the registry has no schema of {contract.topic} yet: headrace schemas register {contract.topic}")
    before, was = _pick(versions, older or max(versions))
    after, now = _pick(versions, newer) if newer else ("this program's", contract.codec)
    typer.echo(f"{contract.topic}: {before} → {after}")
    found = changes(was, now)
    table = Table("field", "change", "what it means", box=None)
    for change in found:
        table.add_row(*_shown(change))
    Console().print(table if found else "no difference but documentation" if was.text != now.text else "no difference")
    if any(change.breaks for change in found):
        raise typer.Exit(1)


def history(topic: Topic) -> None:
    """Show the versions of a topic's schema in the registry, and what changed from one to the next.

    Exit status 0: shown. 2: the registry does not answer, or has none.
    """
    contract = _contract(topic)
    versions = _versions(contract)
    if not versions:
        raise typer.BadParameter(f"the registry has no schema of {contract.topic} yet: headrace schemas register {contract.topic}")
    table = Table("version", "id", "field", "change", "what it means", box=None)
    last: Codec | None = None
    for number, version in versions.items():
        found = [_shown(change) for change in changes(last, version.codec)] if last else [_said(f"{len(version.codec.fields)} fields")]
        for place, row in enumerate(found or [_said("documentation")]):
            table.add_row(*((str(number), str(version.schema_id)) if place == 0 else ("", "")), *row)
        last = version.codec
    Console().print(table)


def _contract(topic: str) -> Contract:
    contract = CONTRACTS.get(topic.removesuffix("-value"))
    if contract is None:
        raise typer.BadParameter(f"no topic {topic}; there are {', '.join(CONTRACTS)}")
    return contract


def _versions(contract: Contract) -> dict[int, Version]:
    with reached():
        return {version.number: version for version in Registry(settings().registry, settings().data / "schemas").versions(contract)}


def _pick(versions: dict[int, Version], number: int) -> tuple[str, Codec]:
    if number not in versions:
        raise typer.BadParameter(f"the registry has no version {number}; there are {', '.join(map(str, versions)) or 'none'}")
    return f"version {number}", versions[number].codec


def _shown(change: Change) -> tuple[Text, Text, Text]:
    return Text(change.field), Text(change.what, "red" if change.breaks else "green"), Text(change.means)


def _said(what: str) -> tuple[Text, Text, Text]:
    return Text(), Text(what), Text()
