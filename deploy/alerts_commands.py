"""`headrace alerts`: where alerts stand, and what an operator does about them, asked of a desk worker."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.table import Table

from agents.desk import State
from agents.rules import Severity
from streams.operators import operator
from streams.settings import settings

TIMEOUT_SECONDS: Final = 30

app = typer.Typer(
    no_args_is_help=True,
    help="""See what is alerted, and say what you do about it. Asks the desk worker at HEADRACE_DESK (faust -A streams.desk worker).

\b
headrace alerts list --status open                    # what nobody takes care of
headrace alerts acknowledge 2e7d8db8c87ec49d… --note "fan is blocked, on my way"
headrace alerts escalate 2e7d8db8c87ec49d… --to CRITICAL
headrace alerts silence --device plant-1.press-0000 --minutes 90 --note maintenance
headrace alerts clear 2e7d8db8c87ec49d…               # over, whatever the rule says

An alert is open until somebody acknowledges it; raised anew, or by its rule to a higher severity, it is open again. A silenced
device goes on raising alerts, which do not wait for anybody. Every action is kept, with who and when: table alert_actions.

Exit status 0: done. 1: refused, and why. 2: the desk does not answer.""",
)
AlertId = Annotated[str, typer.Argument(help="The alert's id, as list shows it.")]
By = Annotated[str, typer.Option(default_factory=operator, show_default="you", help="Who does it.")]
Note = Annotated[str, typer.Option(help="What the next shift should know.")]


@app.command("list")
def list_alerts(
    device: Annotated[str | None, typer.Option(help="Of this device only.")] = None,
    rule: Annotated[str | None, typer.Option(help="Of this rule only.")] = None,
    severity: Annotated[Severity | None, typer.Option(help="Of this severity only.")] = None,
    status: Annotated[State | None, typer.Option(help="In this state only.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Changed within so many minutes only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
) -> None:
    """Show alerts, the latest change first."""
    since = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat() if minutes is not None else None
    wanted = {"device": device, "rule": rule, "severity": severity, "status": status, "since": since, "limit": limit}
    answer = _ask("GET", "/api/alerts", params={name: value for name, value in wanted.items() if value is not None})
    table = Table("alert", "severity", "status", "device", "rule", "raised", "by", "message", box=None)
    for alert in answer["alerts"]:
        by = alert["cleared_by"] or alert["silenced_by"] or alert["acknowledged_by"] or ""
        table.add_row(
            *(alert[name] for name in ("alert_id", "severity", "state", "device_id", "rule")),
            _time(alert["raised_at"]),
            by,
            alert["message"],
        )
    Console().print(table)
    if (more := answer["count"] - len(answer["alerts"])) > 0:
        typer.echo(f"and {more} more: see --limit and --status", err=True)


@app.command()
def show(alert_id: AlertId) -> None:
    """Show how an alert came, and what was done about it."""
    answer = _ask("GET", f"/api/alerts/{alert_id}")
    alert = answer["alert"]
    typer.echo(f"{alert['message']}\n{alert['severity']}, {alert['state']}, rule {alert['rule']} of {alert['device_id']}")
    told = [(change["arrival"], change["status"], change["severity"], change["message"]) for change in answer["changes"]]
    done = [(act["arrival"], act["action"], act["severity"] or "", f"{act['by']}: {act['note']}".rstrip(": ")) for act in answer["actions"]]
    table = Table("when", "what", "severity", "", box=None)
    for at, *what in sorted(told + done):
        table.add_row(_time(at), *what)
    Console().print(table)


@app.command()
def acknowledge(alert_id: AlertId, by: By, note: Note = "") -> None:
    """Say that you take care of an alert: it waits for nobody any more."""
    _act(alert_id, "acknowledge", by=by, note=note)


@app.command()
def clear(alert_id: AlertId, by: By, note: Note = "") -> None:
    """Say that an alert is over, whatever its rule says. Raised anew, it is open again."""
    _act(alert_id, "clear", by=by, note=note)


@app.command()
def escalate(
    alert_id: AlertId,
    by: By,
    to: Annotated[Severity | None, typer.Option(help="Its severity from now on, lower ones included; default: the next higher.")] = None,
    note: Note = "",
) -> None:
    """Say that an alert matters more, or less, than its rule says."""
    _act(alert_id, "escalate", by=by, note=note, **({"to": to} if to else {}))


@app.command()
def silence(
    by: By,
    minutes: Annotated[float, typer.Option(min=0, help="For how long; 0 ends the silence.")],
    alert_id: Annotated[str | None, typer.Argument(help="Silences its device and rule.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of an alert: silences this device.")] = None,
    rule: Annotated[str | None, typer.Option(help="With --device: silences this rule only.")] = None,
    note: Note = "",
) -> None:
    """Have alerts of a device wait for nobody for a time, those that are still to come included."""
    if (alert_id is None) == (device is None):
        raise typer.BadParameter("name an alert or a --device, one of them")
    said = {"by": by, "note": note, "minutes": minutes}
    if alert_id is not None:
        _act(alert_id, "silence", **said)
    else:
        _ask("POST", "/api/silences", json={**said, "device": device, "rule": rule})
        typer.echo(f"{device} is {'silenced' if minutes else 'no longer silenced'}")


@app.command()
def silences() -> None:
    """Show the silences in force."""
    table = Table("device", "rule", "until", "by", "note", box=None)
    for found in _ask("GET", "/api/silences")["silences"]:
        table.add_row(found["device_id"], found["rule"] or "all", _time(found["until"]), found["by"], found["note"])
    Console().print(table)


def _act(alert_id: str, what: str, **said: Any) -> None:  # noqa: ANN401
    alert = _ask("POST", f"/api/alerts/{alert_id}/{what}", json=said)["alert"]
    typer.echo(f"{alert['device_id']} {alert['rule']}: {alert['severity']}, {alert['state']}")


def _ask(method: str, path: str, **how: Any) -> dict[str, Any]:  # noqa: ANN401
    token = settings().web_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.request(method, settings().desk + path, headers=headers, timeout=TIMEOUT_SECONDS, **how)
    except httpx.TransportError as absence:
        message = f"no desk worker answers at {settings().desk}: {absence}\nStart one (faust -A streams.desk worker), or set HEADRACE_DESK."
        typer.secho(message, fg="red", err=True)
        raise typer.Exit(2) from absence
    found: dict[str, Any] = answer.json()
    if "error" in found:
        problems = [f"{problem['field']}: {problem['problem']}" for problem in found.get("problems", ())]
        typer.secho("; ".join(problems) or found["error"], fg="red", err=True)
        raise typer.Exit(1)
    return found


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%m-%d %H:%M:%S}"
