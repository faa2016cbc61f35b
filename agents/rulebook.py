"""Rules as operators write them: text in a file, a record in a topic, and what they become in a domain.

A rule's conditions are SQL expressions over the columns its stage has; they look at one row at a time, so that what becomes of a record
does not depend on the batch it is in.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from string import Formatter
from typing import Annotated, Any, Final, Literal

import polars as pl
from pydantic import BeforeValidator, Field, ValidationError

from agents import rowfile
from agents.operators.expression import expression
from agents.outlook import views
from agents.reading import Domain
from agents.row_model import RowModel, Unfit
from agents.rowfile import RowFile
from agents.rules import Escalation, Rule, Severity
from tables import trends

FACTS: Final = {"device": "press-1", "subject": "temperature", "value": 1.0, "threshold": 1.0, "unit": " °C"}
"""What a message may name."""
MOST_MESSAGE: Final = 500
"""Characters of a message's format; what it says of a reading is cut, see `agents.alerts.MOST_MESSAGE`."""


def _as_text(value: object) -> object:
    """A number as SQL has it."""
    return f"{value}" if isinstance(value, int | float) and not isinstance(value, bool) else value


class Row(RowModel):
    """One rule of an operator, in a file and in the topic `rules`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    over: Literal["readings", "trends"] = "readings"
    severity: Severity
    raises: str
    clears: str
    threshold: Annotated[str, BeforeValidator(_as_text)]
    cooldown_minutes: float = Field(default=5, ge=0, le=10_080)
    hold_seconds: float = Field(default=0, ge=0, le=86_400)
    escalates: str | None = None
    escalates_to: Severity | None = None
    """The next higher severity, unless it is said."""
    message: str
    command: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9-]{0,60})?$")
    """What the machine is told to do when an episode begins or is reopened; empty: nothing."""
    retired: bool = False
    """Raises nothing and closes what is open, be it a rule of the code."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Row":
        """The row of a record of the topic. Raises Unfit."""
        try:
            return cls.model_validate({name: record[name] for name in cls.model_fields})
        except ValidationError as error:
            first = error.errors()[0]
            raise Unfit(str(first["loc"][0]), first["msg"]) from error


def parse(text: str, domains: Mapping[str, Domain]) -> RowFile[Row]:
    """Read a YAML file of `domain` and `rules`, each of which fits its domain. Raises Refused at the first that does not."""
    return rowfile.parse(text, "rules", domains, checked)


def checked(rule: object, domain: Domain) -> Row:
    """A row of a file that fits its domain. Raises Unfit, pydantic's ValidationError."""
    row = Row.model_validate(rule)
    fit(row, domain)
    return row


def fit(row: Row, domain: Domain) -> Rule:
    """The rule a row is in its domain. Raises Unfit."""
    if row.retired:
        return _retired(row)
    columns = stage(domain, row.over)
    raises, clears = _condition("raises", row.raises, columns), _condition("clears", row.clears, columns)
    threshold = _number("threshold", row.threshold, columns)
    _check_message(row.message)
    escalation = _escalation(row, columns)
    if row.command and row.over != "readings":
        raise Unfit("command", "trends are a minute old: only a rule over readings commands a machine")
    return Rule(
        name=row.name,
        severity=row.severity,
        raises=raises,
        clears=clears,
        threshold=threshold.cast(pl.Float64),
        cooldown_ms=int(row.cooldown_minutes * 60_000),
        message=row.message,
        hold_ms=int(row.hold_seconds * 1000),
        escalation=escalation,
        command=row.command,
    )


def _retired(row: Row) -> Rule:
    """A rule that raises nothing and closes what is open, whatever the row says besides: one that does not fit can be retired, too."""
    return Rule(
        name=row.name,
        severity=row.severity,
        raises=pl.lit(value=False),
        clears=pl.lit(value=True),
        threshold=pl.lit(0.0),
        cooldown_ms=int(row.cooldown_minutes * 60_000),
        message="retired",
    )


def _escalation(row: Row, columns: pl.Schema) -> Escalation | None:
    severity, to = row.severity, row.escalates_to or row.severity.higher
    if row.escalates is None:
        if row.escalates_to:
            raise Unfit("escalates_to", "needs a condition, escalates")
        return None
    if to.rank <= severity.rank:
        raise Unfit("escalates_to" if row.escalates_to else "escalates", f"{to} is not above {severity}, the rule's severity")
    return Escalation(_condition("escalates", row.escalates, columns), to)


def with_rows(domain: Domain, rows: Iterable[Row]) -> Domain:
    """The domain with operators' rules in the place of those of the same name. Raises Unfit."""
    return with_rules(domain, [(row, fit(row, domain)) for row in rows])


def with_rules(domain: Domain, fitted: Sequence[tuple[Row, Rule]]) -> Domain:
    """The same, of rows and the rules they are in the domain."""
    names = {row.name for row, _ in fitted}
    over = {stage: [rule for row, rule in fitted if row.over == stage] for stage in ("readings", "trends")}
    return replace(
        domain,
        rules=[*(rule for rule in domain.rules if rule.name not in names), *over["readings"]],
        trend_rules=[*(rule for rule in domain.trend_rules if rule.name not in names), *over["trends"]],
    )


def stage(domain: Domain, over: str) -> pl.Schema:
    """The columns rules look at: none that says where in its batch a record is, as batches are cut anew with each reading."""
    if over == "trends":
        return views(domain, trends.nothing(domain.windowing), {}, 0).schema
    known = {name: dtype for name, dtype in (domain.source.codec.columns or {}).items() if name in domain.fields}
    readings, _ = domain.sort_out(pl.DataFrame(schema={**known, "row": pl.UInt32, "key": pl.Binary, "arrival": pl.Int64}))
    return readings.drop("row").schema


def _condition(field: str, text: str, columns: pl.Schema) -> pl.Expr:
    found, dtype = expression(field, text, columns)
    if dtype != pl.Boolean:
        raise Unfit(field, f"{text!r} is {dtype}, a condition is true or false")
    return found


def _number(field: str, text: str, columns: pl.Schema) -> pl.Expr:
    found, dtype = expression(field, text, columns)
    if not dtype.is_numeric():
        raise Unfit(field, f"{text!r} is {dtype}, a threshold is a number")
    return found


def _check_message(message: str) -> None:
    if len(message) > MOST_MESSAGE:
        raise Unfit("message", f"{len(message)} characters are too many; there may be {MOST_MESSAGE}")
    try:
        for _, name, spec, _ in Formatter().parse(message):
            if name is not None and name not in FACTS:
                raise Unfit("message", f"{{{name}}} is not known; there are {', '.join(FACTS)}", max(message.find(name), 0))
            if spec and ("{" in spec or re.search(r"\d{3}", spec)):
                raise Unfit("message", f"{spec!r} is no format of a message: no field in it, and no width above 99", message.find(spec))
        message.format(**FACTS)
    except (ValueError, LookupError, AttributeError) as error:
        raise Unfit("message", str(error)) from error
