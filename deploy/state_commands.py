"""`headrace state`: what workers remember of a topic, where that has to be given up."""

from typing import Annotated

import typer

from agents.domains import DOMAINS
from deploy.reach import asked, reached, unknown
from deploy.state import NothingKept, StillRunning, forget_state
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

    Exit status 0: forgotten. 1: workers are running, there is nothing to forget, or no such domain. 2: Kafka does not answer; run it
    again, for all of it.
    """
    if domain not in DOMAINS:
        raise unknown(f"no domain {domain}; there are {', '.join(DOMAINS)}")
    source = DOMAINS[domain].source
    asked()
    try:
        with reached():
            keys = forget_state(settings(), source)
    except (StillRunning, NothingKept) as refusal:
        raise unknown(str(refusal)) from refusal
    for changelog, count in keys.items():
        typer.echo(f"emptied {changelog} ({count} keys)")
    typer.echo(f"{source.topic} is read from its first record on when {domain}'s workers start.")
