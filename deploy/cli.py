"""The `headrace` command."""

import logging
import os
import sys
from importlib import import_module
from importlib.metadata import version
from math import isfinite
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from deploy.output.misuse import Misused
from schemas.quoting import quoted

COMMANDS: Final = {
    "demo": "deploy.demo.commands:demo",
    "up": "deploy.embedded.commands:up",
    "down": "deploy.embedded.commands:down",
    "status": "deploy.embedded.commands:status",
    "topics": "deploy.topics_commands:topics",
    "tenant": "deploy.tenants_commands:app",
    "doctor": "deploy.doctor:doctor",
    "prometheus": "deploy.prometheus.commands:prometheus",
    "publish": "deploy.publish_command:publish",
    "send": "deploy.records_commands:send",
    "read": "deploy.records_commands:read",
    "alerts": "deploy.alerts_commands:app",
    "command": "deploy.command_commands:app",
    "groups": "deploy.groups_commands:app",
    "device": "deploy.device_commands:app",
    "map": "deploy.map_commands:app",
    "rules": "deploy.rules_commands:app",
    "schemas": "deploy.schemas_commands:app",
    "sensors": "deploy.sensors_commands:app",
    "state": "deploy.state_commands:app",
    "simulate": "deploy.simulate.commands:app",
}
"""Where each is: only what is asked for is imported, which halves the time until it does something."""


class Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def __init__(self, **said: Any) -> None:  # noqa: ANN401  # Typer's own
        super().__init__(**said)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # their names, for "did you mean"

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Run a command; what the system refuses it, such as a full disk, ends it in a line, exit status 1."""
        sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115  # closed: there is nothing to read
        try:
            return super().main(*args, **kwargs)
        except OSError as refused:
            if refused.filename is None and sys.stdout is sys.__stdout__:
                # what is left of the output would be tried again at the end, with a traceback
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise SystemExit(f"{quoted(refused.filename) if refused.filename else 'output'}: {refused.strerror or refused}") from refused

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401  # Click's, which Typer may bring itself
        """Their names, in the order of the help."""
        return [*COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """The command or the group of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(module), name)
        loaded = typer.Typer()
        if isinstance(found, typer.Typer):
            loaded.add_typer(found, name=cmd_name)
        else:
            loaded.command(cmd_name)(found)
        command = typer.main.get_group(loaded).commands[cmd_name]
        _ask_for_numbers(command)
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """The words of the command line, all of them text."""
        for word in args:
            try:
                word.encode()
            except UnicodeEncodeError as error:
                raise Misused(f"{quoted(word)} is not UTF-8: names, ids and what is sent are text") from error
        return super().parse_args(ctx, args)


def _ask_for_numbers(command: Any) -> None:  # noqa: ANN401
    """Have no option take nan or inf for a number; every command compares, adds or waits with it."""
    for each in getattr(command, "commands", {}).values():
        _ask_for_numbers(each)
    for option in command.params:
        option.callback = option.callback or _number


def _number(_: Any, option: Any, value: Any) -> Any:  # noqa: ANN401
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, float) and not isfinite(each):
            raise Misused(f"{option.opts[0]}: a number is needed, not {each}")
    return value


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Stream processing on Kafka.

To see everything at once: headrace demo. Piece by piece: headrace up; then, in a terminal of its own each, the workers (faust -A
streams.factory worker -l info, streams.warehouse, streams.gateway) and headrace simulate factory; then headrace read alerts.
Where something is not well: headrace doctor.

Variables HEADRACE_KAFKA, HEADRACE_REGISTRY, HEADRACE_MQTT, HEADRACE_CLICKHOUSE and others say where things are;
docs/reference/settings.md lists them.""",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"headrace {version('headrace')}")
        raise typer.Exit


@app.callback()
def headrace(
    version: Annotated[bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Which this is.")] = False,
) -> None:
    """Stream processing on Kafka."""
    # a record that was not delivered is told in a command's own words
    logging.getLogger("streams.producer").addHandler(logging.NullHandler())


if __name__ == "__main__":
    app()
