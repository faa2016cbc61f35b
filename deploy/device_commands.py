"""`headrace device`: which devices there are, what they prove themselves by, and what they may publish."""

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

import typer
from pydantic import ValidationError

from agents.gateway import mosquitto
from agents.gateway.identity import PUBLISH, Credential, Kind, digest
from deploy import mosquitto_files, registry_commands
from deploy.output.listing import Json, show
from deploy.reach import reached, unknown
from schemas.catalog import CREDENTIALS
from schemas.quoting import quoted
from streams import operators
from streams.passwords import PASSWORD_ROUNDS, TOKEN_ROUNDS, for_mosquitto, hashed
from streams.settings import settings

app = typer.Typer(
    no_args_is_help=True,
    help="""Register devices, and see how they are; give them credentials, and take them back. In force in every gateway within a second.

A device proves itself by a user and password (HTTP and WebSocket: Basic), a token (Bearer; CoAP: Uri-Query token=...) or a certificate of
an authority in HEADRACE_GATEWAY_CLIENT_CA; over MQTT by any of them, once Mosquitto has its files (headrace device mosquitto). It publishes
to topics that name it in their second level, unless --publish says otherwise.
From a tenant's first credential on, nobody gets in without one.""",
)
app.add_typer(registry_commands.app)
# 256 bits cannot be found by trying.
TOKEN_BYTES: Final = 32

Device = Annotated[str, typer.Argument(help="The device's id.")]
Tenant = Annotated[str, typer.Option(help="Whose it is; HEADRACE_TENANT unless said.")]
Publish = Annotated[str, typer.Option(help="MQTT topic filters, separated by spaces; {device} stands for its id.")]


@app.command()
def passwd(
    device: Device,
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for unless said.")],
    tenant: Tenant = "",
    publish: Publish = PUBLISH,
) -> None:
    """Give a device a password, in the place of the one it has. Its user name is <tenant>/<device>.

    Exit status 0: Kafka has it. 1: it cannot be. 2: Kafka or the registry does not answer.
    """
    if not password:
        raise unknown("password: an empty one lets everybody in")
    _give(_credential(Kind.PASSWORD, tenant, device, "password", hashed(password), publish, for_mosquitto(password, PASSWORD_ROUNDS)))


@app.command()
def token(device: Device, tenant: Tenant = "", publish: Publish = PUBLISH) -> None:
    """Make a token for a device and print it, once: only its hash is kept. Others it has stay.

    Exit status 0: Kafka has it. 1: it cannot be. 2: Kafka or the registry does not answer.
    """
    made = secrets.token_urlsafe(TOKEN_BYTES)
    secret = digest(made)
    _give(_credential(Kind.TOKEN, tenant, device, f"token-{secret[:8]}", secret, publish, for_mosquitto(made, TOKEN_ROUNDS)))
    typer.echo(made)


@app.command()
def certificate(
    device: Device,
    subject: Annotated[str, typer.Option(help="CN=..., or an alternative name: DNS=..., URI=...")],
    tenant: Tenant = "",
    publish: Publish = PUBLISH,
) -> None:
    """Let a device in that comes with a certificate of this subject. Its authority is to be in HEADRACE_GATEWAY_CLIENT_CA.

    Exit status 0: Kafka has it. 1: it cannot be. 2: Kafka or the registry does not answer.
    """
    kind, _, name = subject.partition("=")
    if kind not in ("CN", "DNS", "URI") or not name.strip():
        raise unknown(f"--subject: {quoted(subject)} is neither CN=..., DNS=... nor URI=...")
    _give(_credential(Kind.CERTIFICATE, tenant, device, f"certificate-{subject}", subject, publish))


@app.command()
def revoke(
    device: Device,
    name: Annotated[str, typer.Argument(help="One of headrace device credentials; all of the device's unless said.")] = "",
    tenant: Tenant = "",
) -> None:
    """Take a device's credentials back; connections it has publish nothing more.

    Exit status 0: Kafka has it. 1: it has none. 2: Kafka or the registry does not answer.
    """
    there = [each for each in _there(tenant or settings().tenant, device) if not each.revoked and name in ("", each.name)]
    if not there:
        raise unknown(f"{device} has no credential {name}".rstrip())
    with reached():
        domain = f"{there[0].tenant}/{device}"
        gone = [each.model_copy(update={"revoked": True}) for each in there]
        asyncio.run(operators.apply(settings(), CREDENTIALS, domain, gone))
    typer.echo(f"revoked {', '.join(each.name for each in there)} of {device}")


@app.command("credentials")
def list_credentials(
    device: Annotated[str, typer.Argument(help="Those of one device; of all unless said.")] = "", as_json: Json = False
) -> None:
    """Show the credentials that are in force, without their secrets."""
    there = [(each.tenant, each.device, each.name, each.publish) for each in _there("", device) if not each.revoked]
    heads = ("tenant", "device", "credential", "publishes")
    show(heads, there, [dict(zip(heads, each, strict=True)) for each in there], as_json=as_json)


@app.command("mosquitto")
def write_mosquitto(
    folder: Annotated[Path, typer.Argument(help="Where to write `passwords` and `acl`.", file_okay=False)],
    group: Annotated[
        str,
        typer.Option(help="Group that may read them; else files that are there keep theirs, new ones are for the group mosquitto."),
    ] = "",
) -> None:
    """Have Mosquitto let in who has a credential, and hold devices to their topics: write its password and ACL files.

    A device's user is <tenant>/<device> with a password, that and /<credential> with a token, a certificate's common name. The gateway's is
    the one in HEADRACE_MQTT. Run it again after a change, and have Mosquitto read the files anew: pkill -HUP mosquitto.

    Exit status 0: they are written. 1: they cannot be, HEADRACE_MQTT has no user and password, or there is no such group. 2: Kafka or the
    registry does not answer.
    """
    url = urlsplit(settings().mqtt)
    if not (url.username and url.password):
        raise unknown("HEADRACE_MQTT has no user and password: mqtt://USER:PASSWORD@HOST is how the gateway is to come in")
    there = [each for each in _there("", "") if not each.revoked]
    for each in there:
        if mosquitto.user(each) is None:
            typer.echo(f"left out: {each.tenant}/{each.device}/{each.name}, which Mosquitto cannot have; give it a new one", err=True)
    gateway, password = unquote(url.username), for_mosquitto(unquote(url.password), TOKEN_ROUNDS)
    passwords = f"{gateway}:{password}\n{mosquitto.passwords(there)}"
    for option, name, text in (("password_file", "passwords", passwords), ("acl_file", "acl", mosquitto.rules(there, gateway))):
        file = folder / name
        try:
            mosquitto_files.write(file, text, group)
        except KeyError as error:
            raise unknown(f"--group: this machine has no group {group}") from error
        except OSError as problem:
            typer.secho(f"{problem.filename or file}: {problem.strerror}; the file that Mosquitto reads is as it was", fg="red", err=True)
            raise typer.Exit(1) from problem
        typer.echo(f"{option} {file.resolve()}")
        if unread := mosquitto_files.unreadable(file):
            typer.secho(unread, fg="yellow", err=True)


def _credential(kind: Kind, tenant: str, device: str, name: str, secret: str, publish: str, mosquitto: str = "") -> Credential:
    if not publish.split():
        raise unknown("publish: a topic filter is needed; headrace device revoke takes a credential back")
    about = {"kind": kind, "name": name, "secret": secret, "publish": publish, "mosquitto": mosquitto}
    try:
        return Credential.model_validate({"tenant": tenant or settings().tenant, "device": device, **about})
    except ValidationError as wrong:
        first = wrong.errors(include_input=False)[0]
        raise unknown(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from wrong


def _give(credential: Credential) -> None:
    with reached():
        asyncio.run(operators.apply(settings(), CREDENTIALS, f"{credential.tenant}/{credential.device}", [credential]))
    typer.echo(f"{credential.tenant}/{credential.device}: {credential.name}, publishes {credential.publish}", err=True)


def _there(tenant: str, device: str) -> list[Credential]:
    with reached():
        records = operators.latest(CREDENTIALS)
    found = [Credential.of(record) for record in records.iter_rows(named=True)]
    return [each for each in found if tenant in ("", each.tenant) and device in ("", each.device)]
