"""`headrace alerts`: where alerts stand, and what an operator does about them, asked of a desk worker."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from agents.desk import State
from agents.rules import Severity
from deploy.output.listing import Json, plain, show, show_json
from deploy.output.misuse import Misused
from deploy.output.times import TEN_YEARS, when
from deploy.reach import unknown
from deploy.worker_api import ask
from streams.operators import operator

app = typer.Typer(
    no_args_is_help=True,
    help="""See what is alerted, and say what you do about it. Asks the desk worker at HEADRACE_DESK (faust -A streams.desk worker).

\b
headrace alerts list --status open                    # what nobody takes care of
headrace alerts devices                               # the same, a line for each device
headrace alerts acknowledge 2e7d8db8 --note "fan is blocked, on my way"
headrace alerts acknowledge --rule missing --note "the line is off"     # all of a rule, a device, a severity
headrace alerts escalate 2e7d8db8 --to CRITICAL
headrace alerts silence --device plant-1.press-0000 --minutes 90 --note maintenance
headrace alerts clear 2e7d8db8                        # over, whatever the rule says

An alert is named by the beginning of its id, as list shows it; any beginning that no other alert has will do. It is open until somebody
acknowledges it; raised anew, or by its rule to a higher severity, it is open again. A silenced device goes on raising alerts, which do not
wait for anybody. Every action is kept, with who and when: table alert_actions.

Exit status 0: done. 1: refused, and why. 2: the desk does not answer.""",
)
AlertId = Annotated[str, typer.Argument(help="The alert's id, or the beginning of it, as list shows it.")]
AnyAlert = Annotated[str | None, typer.Argument(help="The same; without it, all alerts that the options name.")]
By = Annotated[str, typer.Option(default_factory=operator, show_default="you", help="Who does it.")]
Note = Annotated[str, typer.Option(help="What the next shift should know.")]
Device = Annotated[str | None, typer.Option(help="Of this device only.")]
Rule = Annotated[str | None, typer.Option(help="Of this rule only.")]
OfSeverity = Annotated[Severity | None, typer.Option(case_sensitive=False, help="Of this severity only.")]


@app.command("list")
def list_alerts(
    device: Device = None,
    rule: Rule = None,
    severity: OfSeverity = None,
    status: Annotated[State | None, typer.Option(case_sensitive=False, help="In this state only.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, max=TEN_YEARS, help="Changed within so many minutes only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Show alerts, the latest change first."""
    since = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat() if minutes is not None else None
    wanted = {"device": device, "rule": rule, "severity": severity, "status": status, "since": since, "limit": limit}
    answer = ask("desk", "GET", "/api/alerts", params={name: value for name, value in wanted.items() if value is not None})
    rows = [
        (
            *(alert[name] for name in ("short_id", "severity", "state", "device_id", "rule")),
            when(alert["raised_at"]),
            alert["cleared_by"] or alert["silenced_by"] or alert["acknowledged_by"] or "",
            alert["message"],
        )
        for alert in answer["alerts"]
    ]
    show(("alert", "severity", "status", "device", "rule", "raised", "by", "message"), rows, answer["alerts"], as_json=as_json)
    if (more := answer["count"] - len(answer["alerts"])) > 0:
        typer.echo(f"and {more} more: see --limit, --status, and headrace alerts devices", err=True)


@app.command("devices")
def list_devices(
    rule: Rule = None,
    severity: OfSeverity = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """Show the devices that have alerts nobody takes care of, a line each: most severe and most alerts first."""
    wanted = {"rule": rule, "severity": severity, "limit": limit}
    answer = ask("desk", "GET", "/api/alerts/devices", params={name: value for name, value in wanted.items() if value is not None})
    rows = [
        (each["device_id"], each["severity"], each["alerts"], when(each["raised_at"]), ", ".join(each["rules"]), each["message"])
        for each in answer["devices"]
    ]
    show(("device", "worst", "open", "since", "rules", "latest"), rows, answer["devices"], as_json=as_json)
    if (more := answer["count"] - len(answer["devices"])) > 0:
        typer.echo(f"and {more} more: see --limit", err=True)


@app.command("show")
def show_alert(alert_id: AlertId, as_json: Json = False) -> None:
    """Show how an alert came, and what was done about it."""
    answer = ask("desk", "GET", _path(alert_id))
    if as_json:
        show_json(answer)
        return
    alert = answer["alert"]
    typer.echo(plain(alert["message"]))
    typer.echo(plain(f"{alert['severity']}, {alert['state']}, rule {alert['rule']} of {alert['device_id']}"))
    told = [(change["arrival"], change["status"], change["severity"], change["message"]) for change in answer["changes"]]
    done = [(act["arrival"], act["action"], act["severity"] or "", f"{act['by']}: {act['note']}".rstrip(": ")) for act in answer["actions"]]
    show(("when", "what", "severity", ""), [(when(at), *what) for at, *what in sorted(told + done)], answer, as_json=False)


@app.command()
def acknowledge(
    by: By, alert_id: AnyAlert = None, device: Device = None, rule: Rule = None, severity: OfSeverity = None, note: Note = ""
) -> None:
    """Say that you take care of an alert, or of all of a device, rule or severity: it waits for nobody any more."""
    _act("acknowledge", alert_id, {"device": device, "rule": rule, "severity": severity}, by=by, note=note)


@app.command()
def clear(
    by: By, alert_id: AnyAlert = None, device: Device = None, rule: Rule = None, severity: OfSeverity = None, note: Note = ""
) -> None:
    """Say that an alert is over, or all of a device, rule or severity, whatever the rule says. Raised anew, it is open again."""
    _act("clear", alert_id, {"device": device, "rule": rule, "severity": severity}, by=by, note=note)


@app.command()
def escalate(
    alert_id: AlertId,
    by: By,
    to: Annotated[
        Severity | None, typer.Option(case_sensitive=False, help="Its severity from now on, lower ones included; default: the next higher.")
    ] = None,
    note: Note = "",
) -> None:
    """Say that an alert matters more, or less, than its rule says."""
    _act("escalate", alert_id, {}, by=by, note=note, **({"to": to} if to else {}))


@app.command()
def silence(
    by: By,
    minutes: Annotated[float, typer.Option(min=0, max=TEN_YEARS, help="For how long; 0 ends the silence.")],
    alert_id: Annotated[str | None, typer.Argument(help="Silences its device and rule.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of an alert: silences this device.")] = None,
    rule: Annotated[str | None, typer.Option(help="With --device: silences this rule only.")] = None,
    note: Note = "",
) -> None:
    """Have alerts of a device wait for nobody for a time, those that are still to come included."""
    if (alert_id is None) == (device is None):
        raise Misused("name an alert or a --device, one of them")
    said = {"by": by, "note": note, "minutes": minutes}
    if alert_id is not None:
        _act("silence", alert_id, {}, **said)
    else:
        ask("desk", "POST", "/api/silences", json={**said, "device": device, "rule": rule})
        typer.echo(plain(f"{device} is {'silenced' if minutes else 'no longer silenced'}"))


@app.command()
def silences(as_json: Json = False) -> None:
    """Show the silences in force."""
    found = ask("desk", "GET", "/api/silences")["silences"]
    rows = [(each["device_id"], each["rule"] or "all", when(each["until"]), each["by"], each["note"]) for each in found]
    show(("device", "rule", "until", "by", "note"), rows, found, as_json=as_json)


def _act(what: str, alert_id: str | None, which: dict[str, str | None], **said: Any) -> None:  # noqa: ANN401
    chosen = {name: value for name, value in which.items() if value is not None}
    if (alert_id is None) == (not chosen):
        raise Misused("name one alert, or --device, --rule or --severity for all of those")
    if alert_id is not None:
        alert = ask("desk", "POST", f"{_path(alert_id)}/{what}", json=said)["alert"]
        typer.echo(plain(f"{alert['device_id']} {alert['rule']}: {alert['severity']}, {alert['state']}"))
    else:
        count = ask("desk", "POST", f"/api/alerts/{what}", json={**said, **chosen})["count"]
        if not count:
            raise unknown(f"{what}: no alert that this is for is as you said ({_said(chosen)}); headrace alerts list shows what there is")
        typer.echo(f"{what}: {count} alerts")


def _said(chosen: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in chosen.items())


def _path(alert_id: str) -> str:
    if not (named := alert_id.strip().rstrip("…")):
        typer.secho("An alert's id is missing: headrace alerts list shows them.", fg="red", err=True)
        raise typer.Exit(1)
    return f"/api/alerts/{quote(named, safe='')}"
