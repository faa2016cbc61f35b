"""`headrace schemas diff` and `history`: how a topic's schema has changed, and what that means."""

from dataclasses import asdict
from typing import Annotated

import typer

from deploy.output.listing import Json, show
from deploy.reach import reached, unknown
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
    as_json: Json = False,
) -> None:
    """Show what differs between two versions of a topic's schema, field by field, and what that means for readers and writers.

    Exit status 0: the newer reads every record of the older (BACKWARD), or they do not differ. 1: it does not, or the registry has no such
    version. 2: the registry does not answer.

    headrace schemas diff factory.readings --from 1 --to 2
    """
    contract = _contract(topic)
    versions = _versions(contract)
    if older is None and not versions:
        raise unknown(f"the registry has no schema of {contract.topic} yet: headrace schemas register {contract.topic}")
    before, was = _pick(versions, older or max(versions))
    after, now = _pick(versions, newer) if newer else ("this program's", contract.codec)
    found = changes(was, now)
    if not as_json:
        typer.echo(f"{contract.topic}: {before} → {after}")
    if found or as_json:
        show(
            ("field", "change", "what it means"),
            [_shown(change) for change in found],
            [asdict(change) for change in found],
            as_json=as_json,
        )
    else:
        typer.echo("no difference but documentation" if was.text != now.text else "no difference")
    if any(change.breaks for change in found):
        raise typer.Exit(1)


def history(topic: Topic, as_json: Json = False) -> None:
    """Show the versions of a topic's schema in the registry, and what changed from one to the next.

    Exit status 0: shown. 1: the registry has none. 2: it does not answer.
    """
    contract = _contract(topic)
    versions = _versions(contract)
    if not versions:
        raise unknown(f"the registry has no schema of {contract.topic} yet: headrace schemas register {contract.topic}")
    rows: list[tuple[object, ...]] = []
    told: list[dict[str, object]] = []
    last: Codec | None = None
    for number, version in versions.items():
        found = changes(last, version.codec) if last else []
        first = "documentation" if last else f"{len(version.codec.fields)} fields"
        for place, row in enumerate([_shown(change) for change in found] or [("", first, "")]):
            rows.append((*((number, version.schema_id) if place == 0 else ("", "")), *row))
        told.append({"version": number, "id": version.schema_id, "changes": [asdict(change) for change in found]})
        last = version.codec
    show(("version", "id", "field", "change", "what it means"), rows, told, as_json=as_json)


def _contract(topic: str) -> Contract:
    contract = CONTRACTS.get(topic.removesuffix("-value"))
    if contract is None:
        raise unknown(f"no topic {topic}; there are {', '.join(CONTRACTS)}")
    return contract


def _versions(contract: Contract) -> dict[int, Version]:
    with reached():
        return {version.number: version for version in Registry(settings().registry, settings().data / "schemas").versions(contract)}


def _pick(versions: dict[int, Version], number: int) -> tuple[str, Codec]:
    if number not in versions:
        raise unknown(f"the registry has no version {number}; there are {', '.join(map(str, versions)) or 'none'}")
    return f"version {number}", versions[number].codec


def _shown(change: Change) -> tuple[str, str, str]:
    return change.field, f"{change.what}, breaks" if change.breaks else change.what, change.means
