"""What a command says when what it needs is away."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from confluent_kafka import KafkaException

from deploy.output.listing import plain
from schemas.registry import RegistryDown
from streams.producer import DeliveryFailed
from streams.settings import settings


@contextmanager
def reached() -> Iterator[None]:
    """Exit status 2, and what to look at, where Kafka or the registry does not answer."""
    try:
        yield
    except (KafkaException, DeliveryFailed, RegistryDown) as absence:
        told = f"Kafka at {settings().kafka} does not answer: {absence.args[0].str()}" if isinstance(absence, KafkaException) else absence
        typer.secho(
            f"{told}\nIs it running? headrace doctor says more.",
            fg="red",
            err=True,
        )
        raise typer.Exit(2) from absence


def unknown(problem: str) -> typer.Exit:
    """Say in a sentence that there is nothing of a name; to be raised. Exit status 1."""
    typer.secho(plain(problem), fg="red", err=True)
    return typer.Exit(1)
