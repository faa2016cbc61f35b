"""The `headrace` command and what it takes, as a page."""

from collections.abc import Iterator
from typing import Any

import typer

from deploy.cli import COMMANDS, app
from deploy.reference.markdown import code, escaped, page, prose, table


def commands() -> str:
    """Every command with its arguments and options."""
    root: Any = typer.main.get_group(app)
    parts = [part for name in COMMANDS for part in _command(f"headrace {name}", root.get_command(None, name))]
    return page("The headrace command", "deploy/cli.py", "headrace COMMAND --help says the same in the terminal.", parts)


def _command(path: str, command: Any) -> Iterator[str]:  # noqa: ANN401  # Typer's own copy of Click has no public name
    yield f"## `{path}`"
    if command.help:
        yield prose(command.help)
    if rows := [_row(parameter) for parameter in command.params if not parameter.hidden]:
        yield table(("argument or option", "default", "meaning"), rows)
    for name, part in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", part)


def _row(parameter: Any) -> tuple[str, str, str]:  # noqa: ANN401
    names = [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else [parameter.name.upper()]
    given = parameter.default
    default = "required" if parameter.required else code(str(given)) if isinstance(given, str | int | float) and given is not False else ""
    return ", ".join(map(code, names)), default, escaped(" ".join((parameter.help or "").split()))
