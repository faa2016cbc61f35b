"""The `headrace` command."""

import sys
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from deploy import alerts_commands, rules_commands, schemas_commands, sensors_commands
from deploy.demo.commands import demo
from deploy.doctor import doctor
from deploy.embedded.commands import down, status, up
from deploy.prometheus.commands import prometheus
from deploy.records_commands import read, send
from deploy.simulate import commands as simulate_commands
from deploy.topics_commands import topics
from streams.settings import Settings


class Commands(TyperGroup):
    """Commands that tell in words which variable of the environment cannot be used."""

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # Click's own signature
        """Run the command. Exit code 1 for a setting that cannot be."""
        try:
            return super().__call__(*args, **options)
        except ValidationError as wrong:
            if wrong.title != Settings.__name__:
                raise
            for error in wrong.errors():
                typer.secho(f"HEADRACE_{str(error['loc'][0]).upper()}: {error['msg']}, not {error['input']!r}", fg="red", err=True)
            sys.exit(1)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="""Stream processing on Kafka.

To see everything at once: headrace demo. Piece by piece: headrace up; then, in a terminal of its own each, the workers (faust -A
streams.factory worker -l info, streams.warehouse, streams.gateway) and headrace simulate factory; then headrace read alerts.
Where something is not well: headrace doctor.

Variables HEADRACE_KAFKA, HEADRACE_REGISTRY, HEADRACE_MQTT, HEADRACE_CLICKHOUSE and others say where things are; README.md lists them.""",
)
app.command()(demo)
app.command()(up)
app.command()(down)
app.command()(status)
app.command()(topics)
app.command()(doctor)
app.command()(prometheus)
app.command()(send)
app.command()(read)
app.add_typer(alerts_commands.app, name="alerts")
app.add_typer(rules_commands.app, name="rules")
app.add_typer(schemas_commands.app, name="schemas")
app.add_typer(sensors_commands.app, name="sensors")
app.add_typer(simulate_commands.app, name="simulate")

if __name__ == "__main__":
    app()
