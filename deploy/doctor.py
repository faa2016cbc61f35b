"""`headrace doctor`: everything a worker depends on, looked at from here, and what to do about what is not well."""

from collections.abc import Callable, Mapping
from typing import Final

import typer
from rich.console import Console

from deploy.checks import Idle, Ill, access, centre, clickhouse, clock, descriptors, disk, kafka, mqtt, registry, schemas, topics, workers
from deploy.gateway_checks import certificates, mapping, spool
from deploy.output.listing import Json, show
from streams.settings import Settings, settings
from streams.worker.addresses import without_passwords

Check = Callable[[Settings], str]

CHECKS: Final[Mapping[Check, tuple[Check, ...]]] = {
    disk: (),
    descriptors: (),
    kafka: (),
    topics: (kafka,),
    access: (kafka,),
    registry: (),
    schemas: (registry, disk),
    clock: (registry,),
    centre: (),
    mqtt: (),
    certificates: (),
    mapping: (kafka, topics, registry, disk),
    spool: (disk,),
    clickhouse: (),
    workers: (),
}
"""What is looked at, in this order, and what has to be well for that."""


def doctor(as_json: Json = False) -> None:
    """Look at everything the workers depend on, and say what to do about what is not well.

    Exit status 0: all is well. 1: something is not.
    """
    rows: list[tuple[str, str, str, str]] = []
    ill: set[Check] = set()
    with Console(stderr=True).status("") as line:
        for check, needed in CHECKS.items():
            line.update(f"looking at {check.__name__}")
            if away := [other.__name__ for other in needed if other in ill]:
                ill.add(check)
                rows.append(("?", check.__name__, f"not looked at without {' and '.join(away)}", ""))
                continue
            try:
                rows.append(("✓", check.__name__, check(settings()), ""))
            except Idle as found:
                rows.append(("?", check.__name__, found.finding, found.remedy))
            except Ill as found:
                ill.add(check)
                rows.append(("✗", check.__name__, found.finding, found.remedy))
    rows = [(state, what, without_passwords(found), without_passwords(remedy)) for state, what, found, remedy in rows]
    heads = ("", "what", "found", "do")
    show(heads, rows, [dict(zip(("state", *heads[1:]), row, strict=True)) for row in rows], as_json=as_json)
    if ill:
        raise typer.Exit(1)
