"""What a command says when what it needs is away."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer
from confluent_kafka import KafkaError, KafkaException
from rich.console import Console

from deploy.output.listing import fail, plain
from schemas.registry import RegistryDown
from streams.access import Asked, Refused
from streams.producer import DeliveryFailed
from streams.settings import settings
from streams.topics import MISSING

ANSWER_SECONDS: Final = 5


@contextmanager
def reached() -> Iterator[None]:
    """Exit status 2, and what to look at, where Kafka or the registry does not answer; 1 where Kafka answers that it lacks a topic."""
    try:
        yield
    except (KafkaException, DeliveryFailed, RegistryDown) as absence:
        error = absence.args[0] if isinstance(absence, KafkaException) else getattr(absence, "error", None)
        if isinstance(error, KafkaError) and error.name() in MISSING:
            raise unknown(f"Kafka at {settings().kafka} lacks a topic that this needs; headrace topics makes missing ones.") from absence
        told, question = str(absence), "Is it running?"
        if isinstance(absence, KafkaException):
            told = f"Kafka at {settings().kafka} does not answer: {absence.args[0].str()}"
            if not settings().kafka_user and _takes_connections(settings().kafka):
                question = "It takes connections: if it asks who comes, set HEADRACE_KAFKA_USER and HEADRACE_KAFKA_PASSWORD;"
        fail(f"{told}\n{question} headrace doctor says more.")
        raise typer.Exit(2) from absence


def _takes_connections(servers: str) -> bool:
    host, _, port = servers.partition(",")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True


def asked() -> Asked:
    """Kafka, which answers. Exit status 2 if it does not, 1 if it refuses who asks."""
    kafka = Asked(settings().kafka)
    with reached(), Console(stderr=True).status(f"asking Kafka at {settings().kafka}"):
        try:
            kafka.cluster(ANSWER_SECONDS)
        except Refused as refusal:
            raise unknown(f"{refusal}\n{refusal.remedy}; headrace doctor says more.") from refusal
    return kafka


def unknown(problem: str) -> typer.Exit:
    """Say in a sentence that there is nothing of a name; to be raised. Exit status 1."""
    typer.secho(plain(problem), fg="red", err=True)
    return typer.Exit(1)
