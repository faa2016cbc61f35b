"""The `headrace` command."""

import typer

from deploy import alerts_commands, rules_commands, schemas_commands, sensors_commands
from deploy.demo.commands import demo
from deploy.doctor import doctor
from deploy.embedded.commands import down, status, up
from deploy.prometheus.commands import prometheus
from deploy.simulate import commands as simulate_commands
from deploy.topics_commands import topics

app = typer.Typer(help="Headrace: stream processing on Kafka.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(demo)
app.command()(up)
app.command()(down)
app.command()(status)
app.command()(topics)
app.command()(doctor)
app.command()(prometheus)
app.add_typer(alerts_commands.app, name="alerts")
app.add_typer(rules_commands.app, name="rules")
app.add_typer(schemas_commands.app, name="schemas")
app.add_typer(sensors_commands.app, name="sensors")
app.add_typer(simulate_commands.app, name="simulate")

if __name__ == "__main__":
    app()
