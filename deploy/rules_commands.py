"""`headrace rules`: what operators say alerts are raised for, without a restart."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from agents.alerts import Status
from agents.domains import DOMAINS
from agents.operators import condition
from agents.reading import Domain
from agents.row_model import Unfit
from agents.rowfile import Refused, RowFile
from agents.rulebook import Row, parse, stage, with_rows
from agents.rules import Rule, Severity
from deploy.operator_files import refusal, text_of
from deploy.output.listing import Json, show
from deploy.output.times import TEN_YEARS
from deploy.reach import reached, unknown
from deploy.rules_trial import tried
from schemas.catalog import RULES
from streams import operators
from streams.rehearsal import rehearse
from streams.settings import settings

app = typer.Typer(
    no_args_is_help=True,
    help="""Check, apply and list the rules that alerts are raised by. A change is in force in every worker within two seconds.

A file is YAML:

\b
domain: factory
rules:
  - name: near-critical              # names the condition; part of every alert's id
    over: readings                   # or trends: once a minute, of how a sensor has been moving
    severity: WARNING                # INFO, WARNING or CRITICAL
    raises: value > 0.9 * critical   # SQL over the columns of the stage (headrace rules columns)
    clears: value < 0.85 * critical
    threshold: 0.9 * critical        # what the value is judged by, for people to read
    cooldown_minutes: 15             # raised again within it, the same episode is reopened
    hold_seconds: 30                 # how long it must be so before an episode begins, or changes its severity (0)
    escalates: value > critical      # while this holds, the episode has a higher severity
    escalates_to: CRITICAL           # which one, else the next higher
    message: "{subject} of {device} is {value:.1f}, near its critical {threshold:g}"
    command: slow-down               # optional: the command sent when an episode begins or reopens (readings only)

A rule that has the name of one in the code stands in its place. Conditions look at one row: they compare and calculate, CASE, IN, LIKE,
COALESCE, ABS, ROUND, LEFT, SPLIT_PART, EXTRACT and the like, in at most 1,000 characters. Nothing in them looks at other rows or makes
text longer. A message knows {device}, {subject}, {value}, {threshold} and {unit}, which has a blank before it.""",
)


def _domain(name: str) -> str:
    if name not in DOMAINS:
        raise unknown(f"no domain {name}; there are {', '.join(DOMAINS)}")
    return name


DomainName = Annotated[str, typer.Argument(callback=_domain, help="E.g. factory.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file of rules.")]


@app.command()
def check(file: File) -> None:
    """Say whether the rules of a file fit their domain, and change nothing.

    Exit status 0: they fit. 1: one does not; its place and what is wrong are printed.
    """
    found = _parse(file)
    typer.echo(f"{len(found.rows)} {'rule fits' if len(found.rows) == 1 else 'rules fit'} {found.domain}")


@app.command("test")
def show_rehearsal(
    file: File, minutes: Annotated[float, typer.Option(min=0.1, max=TEN_YEARS, help="How far to look back.")] = 60, as_json: Json = False
) -> None:
    """Run the rules of a file over the last hour of readings in Kafka, and show what they would have raised. Changes nothing.

    Nothing is open at its start, and rules over trends need a quarter of an hour before they say anything.

    Exit status 0: done. 1: one does not fit. 2: Kafka or the registry does not answer.
    """
    found = _parse(file)
    domain = replace(DOMAINS[found.domain], rules=(), trend_rules=())
    since_ms = int((time.time() - 60 * minutes) * 1000)
    with reached(), Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"{domain.source.topic}, {minutes:g} minutes", total=None)
        domain = with_rows(operators.with_sensor_types(domain), found.rows)
        work = rehearse(domain, since_ms, lambda done, total: bar.update(task, completed=done, total=total))
        alerts = asyncio.run(work)
    rows = []
    for row in found.rows:
        of_rule = alerts.filter(rule=row.name).sort("changed_at")
        counts = [of_rule.filter(status=status).height for status in Status]
        rows.append((row.name, *counts, of_rule["device_id"].n_unique(), of_rule["message"][-1] if of_rule.height else ""))
    heads = ("rule", *(status.lower() for status in Status), "devices", "latest")
    show(heads, rows, [dict(zip(heads, told, strict=True)) for told in rows], as_json=as_json)


@app.command()
def apply(file: File) -> None:
    """Put the rules of a file in force, all or none. Others stay as they are.

    Exit status 0: Kafka has them. 1: one does not fit. 2: Kafka or the registry does not answer.
    """
    found = _parse(file)
    with reached():
        asyncio.run(operators.apply(settings(), RULES, found.domain, found.rows))
    typer.echo(f"applied to {found.domain}: {', '.join(row.name for row in found.rows)}")


@app.command()
def retire(domain: DomainName, name: Annotated[str, typer.Argument(help="The rule's.")]) -> None:
    """Have a rule raise nothing more and close what it has open, one of the code included. Apply it again to have it back.

    Exit status 0: Kafka has it. 1: it is retired already, or unknown. 2: Kafka or the registry does not answer.
    """
    with reached():
        applied = {record["name"]: record for record in operators.latest(RULES).filter(domain=domain).iter_rows(named=True)}
        of_code = {rule.name: (rule, over) for over, rules in _of_code(DOMAINS[domain]).items() for rule in rules}
        if name in applied and applied[name]["retired"]:
            raise unknown(f"{domain}/{name} is retired already")
        if name in applied:
            row = _retired(applied[name])
        elif name in of_code:
            rule, over = of_code[name]
            row = _retired({"name": name, "over": over, "severity": rule.severity, "cooldown_minutes": rule.cooldown_ms / 60_000})
        else:
            raise unknown(f"no rule {name} in {domain}; there are {', '.join(of_code | applied)}")
        asyncio.run(operators.apply(settings(), RULES, domain, [row]))
    typer.echo(f"retired {domain}/{name}")


@app.command("list")
def list_rules(as_json: Json = False) -> None:
    """Show the rules in force, those of the code and those applied."""
    with reached():
        applied = operators.latest(RULES)
    found: list[dict[str, Any]] = []
    for name, domain in DOMAINS.items():
        rows = {row["name"]: row for row in applied.filter(domain=name).iter_rows(named=True)}
        for over, rules in _of_code(domain).items():
            of_code = ({"name": rule.name, "over": over, "severity": rule.severity, "message": rule.message} for rule in rules)
            conditions = ({"command": rule.command, "raises": condition.text(rule.raises)} for rule in rules)
            both = zip(of_code, conditions, strict=True)
            found += [{"domain": name, **told, **more, "retired": False, "from": "code"} for told, more in both if told["name"] not in rows]
        found += [{**row, "from": row["applied_by"]} for row in rows.values()]
    lines = [(*(row[head] for head in ("domain", "name", "over", "severity")), row["command"], row["from"], _when(row)) for row in found]
    show(("domain", "rule", "over", "severity", "command", "from", "raises"), lines, found, as_json=as_json)


@app.command()
def columns(domain: DomainName = "factory") -> None:
    """Show what conditions may look at."""
    for over in ("readings", "trends"):
        typer.echo(f"{over}: " + ", ".join(f"{name} ({dtype})" for name, dtype in stage(DOMAINS[domain], over).items()))


def _when(row: Mapping[str, Any]) -> str:
    """When a rule raises, in one line."""
    return "retired" if row["retired"] else " ".join(row["raises"].split())


def _of_code(domain: Domain) -> dict[str, list[Rule]]:
    return {"readings": list(domain.rules), "trends": list(domain.trend_rules)}


def _retired(record: Mapping[str, Any]) -> Row:
    """The rule as it was, but retired; as one that says nothing where no worker takes what it says."""
    nothing = {"severity": Severity.INFO, "raises": "false", "clears": "true", "threshold": "0", "message": "retired", "retired": True}
    silent = Row.model_validate({"name": record["name"], **nothing})
    try:
        return Row.of({**silent.model_dump(), **record, "retired": True})
    except Unfit:
        return silent


def _parse(file: Path) -> RowFile[Row]:
    try:
        text = text_of(file)
        tried(text)
        return parse(text, DOMAINS)
    except Refused as refused:
        raise refusal(file, refused.line, refused.column, refused.problem) from refused
