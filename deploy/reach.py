"""What a command says when what it needs is away."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from confluent_kafka import KafkaException

from schemas.registry import RegistryDown
from streams.producer import DeliveryFailed


@contextmanager
def reached() -> Iterator[None]:
    """Exit status 2, and what to look at, where Kafka or the registry does not answer."""
    try:
        yield
    except (KafkaException, DeliveryFailed, RegistryDown) as absence:
        typer.secho(
            f"{absence}\nIs it running? headrace doctor says more.",
            fg="red",
            err=True,
        )
        raise typer.Exit(2) from absence
