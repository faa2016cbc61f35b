"""`headrace tenant`."""

from typing import Annotated, Final, NamedTuple

import typer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy import tenants
from deploy.output.listing import Json, show_json
from deploy.output.misuse import Misused
from deploy.reach import asked
from deploy.topics import TopicMismatchError, ensure_topics
from streams.base.forms import TENANT
from streams.settings import settings

app: Final = typer.Typer(
    no_args_is_help=True,
    help="""Tenants in a Kafka that asks who comes: their topics, users, and what those may do.

Run these as a user that may (HEADRACE_KAFKA_USER and HEADRACE_KAFKA_PASSWORD): of the local stack, those it was started with.""",
)


def _new(name: str) -> str:
    if not TENANT.fullmatch(name):
        raise Misused("a tenant's name is made of small letters, digits and -")
    if name in tenants.RESERVED or name == settings().kafka_user:
        raise Misused(f"{name!r} cannot be a tenant's name: something else in Kafka is called so")
    return name


NewPassword = Annotated[bool, typer.Option("--new-password", help="Make a new password for the user it has already.")]


class User(NamedTuple):
    """Of Kafka's."""

    name: str
    password: str | None
    """A new one; None where it has one already."""


@app.command()
def add(
    name: Annotated[str, typer.Argument(callback=_new, help="E.g. riverside.")], new_password: NewPassword = False, as_json: Json = False
) -> None:
    """Make a tenant's topics, its user, and what that may do; what is there stays, but for what the gateway may.

    Its workers run with HEADRACE_TENANT and HEADRACE_KAFKA_USER set to the name, and the password, which is shown once.

    Exit status 0: all is there. 1: Kafka refuses, or a topic is there with another number of partitions. 2: Kafka does not answer.
    """
    admin = asked().admin
    try:
        made = ensure_topics(settings().kafka, tenant=name)
        for topic in made:
            typer.echo(f"made {topic}", err=True)
        tenants.allow(admin, tenants.rights(name) | tenants.rights_of_gateway([name]))
        user = _user(admin, name, new_password)
    except (KafkaException, TopicMismatchError) as failure:
        raise _failed(failure) from failure
    _show(user, as_json, {"tenant": name, "made": made})
    if not as_json:
        typer.echo(f"HEADRACE_TENANT={name}")


@app.command()
def gateway(new_password: NewPassword = False, as_json: Json = False) -> None:
    """Make the user of the gateway that takes all tenants' messages; a tenant that is added later is known to it.

    Exit status 0: it is there. 1: Kafka refuses. 2: Kafka does not answer.
    """
    admin = asked().admin
    try:
        tenants.allow(admin, tenants.rights_of_gateway(()))
        user = _user(admin, tenants.GATEWAY, new_password)
    except KafkaException as failure:
        raise _failed(failure) from failure
    _show(user, as_json, {})


def _user(admin: AdminClient, name: str, new_password: bool) -> User:
    return User(name, tenants.new_password(admin, name) if new_password or not tenants.is_known(admin, name) else None)


def _show(user: User, as_json: bool, more: dict[str, object]) -> None:
    if as_json:
        show_json({"user": user.name, "password": user.password} | more)
        return
    typer.echo(f"HEADRACE_KAFKA_USER={user.name}")
    if user.password is None:
        typer.echo("It has a password already; --new-password makes another one.", err=True)
    else:
        typer.echo(f"HEADRACE_KAFKA_PASSWORD={user.password}")


def _failed(failure: Exception) -> typer.Exit:
    told = f"Kafka says {failure.args[0].name()}" if isinstance(failure, KafkaException) else str(failure)
    remedy = "Run it as a user that may (HEADRACE_KAFKA_USER, HEADRACE_KAFKA_PASSWORD); headrace doctor says more."
    typer.secho(f"{told}\n{remedy}", fg="red", err=True)
    return typer.Exit(1)
