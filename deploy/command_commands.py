"""`headrace command`: devices of the city are told to do something, and what has become of it."""

from typing import Annotated, Any

import typer

from deploy.output.listing import Json, plain, said, show, show_json
from deploy.output.misuse import Misused
from deploy.output.times import TEN_YEARS, when
from deploy.worker_api import ask
from schemas import json_text
from streams.operators import operator

app = typer.Typer(
    no_args_is_help=True,
    help="""Tell devices of the city to do something, over whatever protocol they listen. Asks the gateway at HEADRACE_GATEWAY.

\b
headrace command send switch-on --device lamp-7 --parameters '{"brightness": 80}'
headrace command send switch-on --group riverside-lights --expires 3600
headrace command show 2e7d8db8c87ec49d…

A device that is away is told when it comes, until the command expires. QUEUED: waits for it. DISPATCHED: sent. DELIVERED: it has it.
ACKNOWLEDGED: done. FAILED: it could not. UNANSWERED: it said nothing in time. EXPIRED: it did not come.

Exit status 0: done. 1: refused, and why. 2: the gateway does not answer.""",
)


@app.command()
def send(
    word: Annotated[str, typer.Argument(help="What to do; devices know the words.")],
    device: Annotated[list[str] | None, typer.Option(help="A device's id; may be said again.")] = None,
    group: Annotated[str | None, typer.Option(help="A group's name: headrace groups list.")] = None,
    data_type: Annotated[str | None, typer.Option(help="All groups of such devices, e.g. lighting.")] = None,
    district: Annotated[str | None, typer.Option(help="All groups of this district.")] = None,
    pattern: Annotated[str, typer.Option(help="Of the groups' devices those with such ids, e.g. 'lamp-1*'.")] = "*",
    parameters: Annotated[str, typer.Option(help="How: a JSON object.")] = "{}",
    expires: Annotated[float, typer.Option(min=0.1, max=60 * TEN_YEARS, help="Seconds to wait for devices that are away.")] = 300,
    tenant: Annotated[str, typer.Option(help="Whose devices these are; HEADRACE_TENANT's unless said.")] = "",
) -> None:
    """Tell devices to do something, and print the request's id."""
    try:
        given = json_text.loads(parameters)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="--parameters") from error
    if not isinstance(given, dict):
        raise typer.BadParameter('not a JSON object, such as {"brightness": 80}', param_hint="--parameters")
    if not (device or group or data_type or district):
        raise Misused("say whom: --device, --group, --data-type or --district")
    body: dict[str, Any] = {"command": word, "parameters": given, "expires_seconds": expires, "tenant": tenant, "by": operator()}
    if group or data_type or district:
        chosen = {"name": group, "data_type": data_type, "district": district, "pattern": pattern}
        body["group"] = {name: value for name, value in chosen.items() if value is not None}
    answer = ask("gateway", "POST", "/api/commands", json=body | ({"device_ids": device} if device else {}))
    typer.echo(plain(answer["request_id"]))
    typer.echo(plain(f"{word} to {answer['devices']} devices; headrace command show {answer['request_id']}"), err=True)


@app.command("show")
def show_request(
    request_id: Annotated[str, typer.Argument(help="As send printed it.")],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many devices.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what has become of a request, device by device."""
    answer = ask("gateway", "GET", "/api/commands", params={"request_id": request_id, "limit": limit})
    if as_json:
        show_json(answer)
        return
    counts = ", ".join(f"{count} {status}" for status, count in sorted(answer["counts"].items()))
    parameters = f" ({said(answer['parameters'])})" if answer["parameters"] else ""
    typer.echo(plain(f"{answer['command']}{parameters}, until {when(answer['expires_at'])}: {counts}"))
    rows = [(each["device_id"], each["status"], when(each["at"]), each["detail"]) for each in answer["commands"]]
    show(("device", "status", "at", "detail"), rows, answer, as_json=False)
    if answer["next"] is not None:
        typer.echo("and more: see --limit", err=True)
