"""`headrace tenant`."""

from typing import Annotated, Final

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy import tenants
from deploy.topics import TIMEOUT_SECONDS, TopicMismatchError, ensure_topics
from streams.access import Asked, Refused
from streams.base.forms import TENANT
from streams.settings import settings

app: Final = typer.Typer(
    no_args_is_help=True,
    help="""Tenants in a Kafka that asks who comes: their topics, users, and what those may do.

Run these as a user that may (HEADRACE_KAFKA_USER and HEADRACE_KAFKA_PASSWORD): of the local stack, those it was started with.""",
)


def _new(name: str) -> str:
    if not TENANT.fullmatch(name):
        raise typer.BadParameter("a tenant's name is made of small letters, digits and -")
    if name in tenants.RESERVED or name == settings().kafka_user:
        raise typer.BadParameter(f"{name!r} cannot be a tenant's name: something else in Kafka is called so")
    return name


NewPassword = Annotated[bool, typer.Option("--new-password", help="Make a new password for the user it has already.")]


@app.command()
def add(name: Annotated[str, typer.Argument(callback=_new, help="E.g. riverside.")], new_password: NewPassword = False) -> None:
    """Make a tenant's topics, its user, and what that may do; what is there stays, but for what the gateway may.

    Its workers run with HEADRACE_TENANT and HEADRACE_KAFKA_USER set to the name, and the password, which is shown once.

    Exit status 0: all is there. 1: Kafka refuses, or does not answer, or a topic is there with another number of partitions.
    """
    admin = _admin()
    try:
        for topic in ensure_topics(settings().kafka, tenant=name):
            typer.echo(f"made {topic}", err=True)
        tenants.allow(admin, tenants.rights(name) | tenants.rights_of_gateway([name]))
        _user(admin, name, new_password)
    except (KafkaException, Refused, TopicMismatchError) as failure:
        raise _failed(failure) from failure
    typer.echo(f"HEADRACE_TENANT={name}")


@app.command()
def gateway(new_password: NewPassword = False) -> None:
    """Make the user of the gateway that takes all tenants' messages; a tenant that is added later is known to it.

    Exit status 0: it is there. 1: Kafka refuses, or does not answer.
    """
    admin = _admin()
    try:
        tenants.allow(admin, tenants.rights_of_gateway(()))
        _user(admin, tenants.GATEWAY, new_password)
    except KafkaException as failure:
        raise _failed(failure) from failure


def _admin() -> AdminClient:
    asked = Asked(settings().kafka)
    try:
        asked.cluster(TIMEOUT_SECONDS)
    except (KafkaException, Refused) as failure:
        raise _failed(failure) from failure
    return asked.admin


def _user(admin: AdminClient, name: str, new_password: bool) -> None:
    typer.echo(f"HEADRACE_KAFKA_USER={name}")
    if new_password or not tenants.is_known(admin, name):
        typer.echo(f"HEADRACE_KAFKA_PASSWORD={tenants.new_password(admin, name)}")
    else:
        typer.echo("It has a password already; --new-password makes another one.", err=True)


def _failed(failure: Exception) -> typer.Exit:
    told = f"Kafka says {failure.args[0].name()}" if isinstance(failure, KafkaException) else str(failure)
    remedy = "Run it as a user that may (HEADRACE_KAFKA_USER, HEADRACE_KAFKA_PASSWORD); headrace doctor says more."
    typer.secho(f"{told}\n{remedy}", fg="red", err=True)
    return typer.Exit(1)
