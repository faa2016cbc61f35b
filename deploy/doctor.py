"""`headrace doctor`: everything a worker depends on, looked at from here, and what to do about what is not well."""

from collections.abc import Callable, Mapping
from typing import Final

import typer
from rich.console import Console
from rich.table import Table

from deploy.checks import Ill, access, centre, clickhouse, clock, descriptors, disk, kafka, mqtt, registry, schemas, topics
from deploy.gateway_checks import certificates, mapping, spool
from streams.settings import Settings, settings

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
}
"""What is looked at, in this order, and what has to be well for that."""


def doctor() -> None:
    """Look at everything the workers depend on, and say what to do about what is not well.

    Exit status 0: all is well. 1: something is not.
    """
    table = Table("", "what", "found", "do", box=None)
    ill: set[Check] = set()
    for check, needed in CHECKS.items():
        if away := [other.__name__ for other in needed if other in ill]:
            ill.add(check)
            table.add_row("[yellow]?[/]", check.__name__, f"not looked at without {' and '.join(away)}", "")
            continue
        try:
            table.add_row("[green]✓[/]", check.__name__, check(settings()), "")
        except Ill as found:
            ill.add(check)
            table.add_row("[red]✗[/]", check.__name__, found.finding, found.remedy)
    Console().print(table)
    if ill:
        raise typer.Exit(1)
