"""`headrace topics`."""

import typer
from confluent_kafka import KafkaException

from deploy.output.listing import Json, show_json
from deploy.reach import asked
from deploy.topics import TopicMismatchError, ensure_topics, names
from streams.settings import settings


def topics(as_json: Json = False) -> None:
    """Make the catalogue's topics and changelogs in Kafka; those that are there stay as they are.

    Exit status 0: all are there. 1: one is there with another number of partitions, or Kafka refuses. 2: Kafka does not answer.

    Run it before the first worker, and before workers of a new version: headrace topics
    """
    asked()
    try:
        made = ensure_topics(settings().kafka)
    except TopicMismatchError as mismatch:
        typer.secho(str(mismatch), fg="red", err=True)
        raise typer.Exit(1) from mismatch
    except KafkaException as failure:
        message = f"Kafka at {settings().kafka} does not make topics: {failure.args[0].str()}. May you (HEADRACE_KAFKA_USER)?"
        typer.secho(message, fg="red", err=True)
        raise typer.Exit(1) from failure
    if as_json:
        show_json([{"topic": name, "partitions": count, "made": name in made} for name, count in names(settings().tenant).items()])
        return
    for topic in made:
        typer.echo(f"made {topic}")
    if not made:
        typer.echo("Every topic of the catalogue is there.")
