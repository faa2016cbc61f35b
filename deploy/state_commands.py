"""`headrace state`: what workers remember of a topic, where that has to be given up."""

from typing import Annotated

import typer
from confluent_kafka import KafkaException

from agents.domains import DOMAINS
from deploy.state import StillRunning, forget_state
from streams.access import Refused
from streams.settings import settings

app = typer.Typer(no_args_is_help=True, help="Give up what workers remember of a topic that is no longer the one it was.")


@app.callback()
def state() -> None:
    """Give up what workers remember of a topic that is no longer the one it was."""


@app.command()
def forget(domain: Annotated[str, typer.Argument(help=f"One of {', '.join(DOMAINS)}.")]) -> None:
    """Empty a domain's changelogs and have its workers read its topic from the first record that is there.

    A worker that finds another topic than the one its state is of says so and stops: this accepts it. Windows and alerts of what is read
    again have the ids they had, so nothing is stored twice. Stop the domain's workers first.

    Exit status 0: forgotten. 1: workers are running, or Kafka does not answer. 2: there is no such domain.
    """
    if domain not in DOMAINS:
        typer.secho(f"There is no domain {domain!r}: it is one of {', '.join(DOMAINS)}.", fg="red", err=True)
        raise typer.Exit(2)
    source = DOMAINS[domain].source
    try:
        keys = forget_state(settings(), source)
    except (StillRunning, Refused) as running:
        typer.secho(str(running), fg="red", err=True)
        raise typer.Exit(1) from running
    except KafkaException as failure:
        message = f"Kafka at {settings().kafka} does not answer: {failure.args[0].str()}. Nothing may be forgotten yet: run it again."
        typer.secho(message, fg="red", err=True)
        raise typer.Exit(1) from failure
    for changelog, count in keys.items():
        typer.echo(f"emptied {changelog} ({count} keys)")
    typer.echo(f"{source.topic} is read from its first record on when {domain}'s workers start.")
