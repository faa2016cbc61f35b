"""`headrace topics`."""

from typing import Final

import typer
from confluent_kafka import KafkaException
from rich.console import Console

from deploy.topics import TopicMismatchError, ensure_topics
from streams.access import Asked, Refused
from streams.settings import settings

ANSWER_SECONDS: Final = 5


def topics() -> None:
    """Make the catalogue's topics and changelogs in Kafka; those that are there stay as they are.

    Exit status 0: all are there. 1: one is there with another number of partitions, or Kafka does not answer or refuses.

    Run it before the first worker, and before workers of a new version: headrace topics
    """
    try:
        with Console(stderr=True).status(f"asking Kafka at {settings().kafka}"):
            Asked(settings().kafka).cluster(ANSWER_SECONDS)
        made = ensure_topics(settings().kafka)
    except (TopicMismatchError, Refused) as mismatch:
        typer.secho(str(mismatch), fg="red", err=True)
        raise typer.Exit(1) from mismatch
    except KafkaException as failure:
        message = f"Kafka at {settings().kafka} does not make topics: {failure.args[0].str()}. Is it running, and may you? "
        typer.secho(f"{message}See headrace status, and HEADRACE_KAFKA.", fg="red", err=True)
        raise typer.Exit(1) from failure
    for topic in made:
        typer.echo(f"made {topic}")
    if not made:
        typer.echo("Every topic of the catalogue is there.")
