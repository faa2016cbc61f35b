"""What has become of every alert: its changes, and what people did about it, put together.

Both are logs of which the desk keeps what still matters. What it says of an alert is a function of the two, whatever order they came in
relative to each other and however often: records are told apart by their ids, and compared by Kafka's timestamps (`arrival`, ms).
"""

from enum import StrEnum
from hashlib import blake2b
from itertools import pairwise, takewhile
from typing import Final

import polars as pl

from agents.alerts import Status
from agents.rules import Severity
from schemas.catalog import ALERT_ACTIONS, ALERTS

# A day after its last change a closed alert is only in the log and in the warehouse.
KEPT_MS: Final = 86_400_000
SHORT_ID: Final = 8
"""Characters of an id that people read: two of 10,000 alerts are alike in so many once in a hundred times, and then more are shown."""


class Action(StrEnum):
    """What may be done about an alert."""

    ACKNOWLEDGE = "ACKNOWLEDGE"
    SILENCE = "SILENCE"
    UNSILENCE = "UNSILENCE"
    CLEAR = "CLEAR"
    ESCALATE = "ESCALATE"
    DEESCALATE = "DEESCALATE"


class State(StrEnum):
    """Where an alert stands; the first that fits."""

    CLEARED = "cleared"
    """By its own condition, or by a person."""
    SILENCED = "silenced"
    ACKNOWLEDGED = "acknowledged"
    OPEN = "open"
    """Nobody has done anything about it."""


_ARRIVAL: Final = {"arrival": pl.Int64}
_CHANGE: Final = ("alert_id", "status", "changed_at")
_BEGINS: Final = pl.col("status").is_in([Status.RAISED, Status.REOPENED])
_NEEDS_SOMEBODY: Final = _BEGINS | (pl.col("status") == Status.ESCALATED)
_IS_SILENCE: Final = pl.col("action").is_in([Action.SILENCE, Action.UNSILENCE])
_IS_KNOWN: Final = pl.col("action").is_in([*Action]) & pl.col("severity").fill_null(Severity.INFO).is_in([*Severity])
_SETS_SEVERITY: Final = pl.col("action").is_in([Action.ESCALATE, Action.DEESCALATE])


class Desk:
    """The changes and actions that still matter, each once, in the order of their logs."""

    def __init__(self) -> None:
        self.changes = pl.DataFrame(schema={**(ALERTS.codec.columns or {}), **_ARRIVAL})
        self.actions = pl.DataFrame(schema={**(ALERT_ACTIONS.codec.columns or {}), **_ARRIVAL})

    def change(self, changes: pl.DataFrame) -> None:
        """Take in records of `alerts`, with their `arrival`."""
        self.changes = _with(self.changes, changes, _CHANGE)

    def act(self, actions: pl.DataFrame) -> None:
        """Take in records of `alert-actions`, with their `arrival`; those that say nothing this version knows are passed over."""
        self.actions = _with(self.actions, actions.filter(_IS_KNOWN), ("action_id",))

    def alerts(self, now: int, alert_id: str | None = None) -> pl.DataFrame:
        """Where every alert stands, or one: a row for each.

        It has the columns of `schemas/avro/alerts.avsc`, of its latest change; `state`; who did what and when (`acknowledged_by`,
        `acknowledged_at`, `cleared_by`, `cleared_at`, `severity_by`, `severity_at`, `silenced_by`, `silenced_until`); `waiting_since`,
        when it last needed somebody; `updated_at`. Times in milliseconds. `severity` is what the rule or a person last set.
        """
        changes = self.changes if alert_id is None else self.changes.filter(pl.col("alert_id") == alert_id)
        return _alerts(changes, self.actions, now)

    def ids(self) -> dict[str, str]:
        """Every alert's id → its shortest beginning that no other has, of `SHORT_ID` characters or more."""
        known = sorted(self.changes["alert_id"].unique())
        shared = [0, *(_shared(name, after) for name, after in pairwise(known)), 0]
        return {name: name[: max(SHORT_ID, 1 + max(shared[at : at + 2]))] for at, name in enumerate(known)}

    def named(self, beginning: str) -> list[str]:
        """The ids that begin so, or the one that is just that."""
        known = self.changes["alert_id"].unique()
        return [beginning] if beginning in known else sorted(known.filter(known.str.starts_with(beginning)))

    def silences(self, now: int) -> pl.DataFrame:
        """The actions by which devices are silenced now; `rule` is null where all of a device's are."""
        return _silences(self.actions, now)

    def forget(self, now: int) -> None:
        """Drop what has been closed for `KEPT_MS`."""
        alerts = self.alerts(now).filter((pl.col("state") != State.CLEARED) | (pl.col("updated_at") > now - KEPT_MS))
        self.changes = self.changes.join(alerts, on="alert_id", how="semi", maintain_order="left").rechunk()
        # An end of a silence must not be dropped before the silence: of these only what holds now, or is new, is kept.
        of_kept = self.actions.filter(~_IS_SILENCE).join(alerts, on="alert_id", how="semi")["action_id"]
        silencing = _silences(self.actions, now)["action_id"]
        lately = pl.col("arrival") > now - KEPT_MS
        needed = pl.col("action_id").is_in(pl.concat([of_kept, silencing]).implode())
        self.actions = self.actions.filter(lately | needed).rechunk()


def by_device(alerts: pl.DataFrame) -> pl.DataFrame:
    """Of alerts, a row for each device, most severe and most alerts first.

    `device_id`, the worst `severity`, how many `alerts`, their `rules`, when the first was raised (`raised_at`), the latest `message`.
    """
    rank = pl.col("severity").replace_strict({severity: severity.rank for severity in Severity}, default=0, return_dtype=pl.Int64)
    found = alerts.with_columns(rank=rank).sort("updated_at").group_by("device_id", maintain_order=True)
    told = found.agg(
        pl.col("severity").sort_by("rank").last(),
        pl.len().alias("alerts"),
        pl.col("rule").unique().sort().alias("rules"),
        pl.col("raised_at").min(),
        pl.col("message").last(),
        pl.col("rank").max(),
    )
    return told.sort("rank", "alerts", "device_id", descending=[True, True, False]).drop("rank")


def overdue(alerts: pl.DataFrame, now: int, patience_ms: int) -> pl.DataFrame:
    """The actions that escalate alerts nobody has done anything about for `patience_ms`; asked again, each has the same id."""
    since = pl.max_horizontal("waiting_since", "severity_at")
    may_rise = pl.col("severity").is_in([*Severity][:-1])
    waiting = alerts.with_columns(since=since).filter(pl.col("state") == State.OPEN, may_rise, since + patience_ms <= now)
    rows = [
        {
            "action_id": blake2b(f"{row['alert_id']}\x1f{row['since']}".encode(), digest_size=16).hexdigest(),
            **{name: row[name] for name in ("tenant", "device_id", "alert_id", "rule")},
            "action": Action.ESCALATE,
            "severity": Severity(row["severity"]).higher,
            "until": None,
            "by": "desk",
            "note": f"nobody acknowledged it for {patience_ms / 60_000:g} minutes",
            "at": row["since"] + patience_ms,
        }
        for row in waiting.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=ALERT_ACTIONS.codec.columns)


def _shared(name: str, other: str) -> int:
    """How many characters two names begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))


def _with(known: pl.DataFrame, fresh: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    fresh = fresh.select(known.columns).unique(key, keep="first", maintain_order=True)
    return pl.concat([known, fresh.join(known, on=key, how="anti", maintain_order="left")])


def _alerts(changes: pl.DataFrame, actions: pl.DataFrame, now: int) -> pl.DataFrame:
    arrival, by = pl.col("arrival"), pl.col("by")
    alerts = changes.group_by("alert_id", maintain_order=True).agg(
        pl.all().exclude("arrival").last(),
        told_at=arrival.last(),
        # the first there is, where the beginning is no longer in the log
        begun_at=arrival.filter(_BEGINS).last().fill_null(arrival.first()),
        needed_at=arrival.filter(_NEEDS_SOMEBODY).last().fill_null(arrival.first()),
        judged_at=arrival.filter(pl.col("status") != Status.CLEARED).last().fill_null(arrival.first()),
    )
    acknowledges = (pl.col("action") == Action.ACKNOWLEDGE) & (arrival >= pl.col("needed_at"))
    clears = (pl.col("action") == Action.CLEAR) & (arrival >= pl.col("begun_at"))
    sets = _SETS_SEVERITY & (arrival >= pl.col("judged_at"))
    done = (
        actions.filter(~_IS_SILENCE)
        .join(alerts.select("alert_id", "begun_at", "needed_at", "judged_at"), on="alert_id", maintain_order="left")
        .group_by("alert_id", maintain_order=True)
        .agg(
            **_latest("acknowledged", acknowledges),
            **_latest("cleared", clears),
            severity_set=pl.col("severity").filter(sets).last(),
            severity_by=by.filter(sets).last(),
            severity_at=arrival.filter(sets).last(),
            acted_at=arrival.last(),
        )
    )
    silences = _silences(actions, now).select("device_id", "rule", silenced_until="until", silenced_by="by")
    of_device = silences.filter(pl.col("rule").is_null()).drop("rule")
    is_over = (pl.col("status") == Status.CLEARED) | pl.col("historic") | pl.col("cleared_by").is_not_null()
    return (
        alerts.join(done, on="alert_id", how="left", maintain_order="left")
        .join(silences, on=["device_id", "rule"], how="left", maintain_order="left")
        .join(of_device, on="device_id", how="left", maintain_order="left", suffix="_wholly")
        .with_columns(
            severity=pl.coalesce("severity_set", "severity"),
            silenced_until=pl.max_horizontal("silenced_until", "silenced_until_wholly"),
            silenced_by=pl.coalesce("silenced_by", "silenced_by_wholly"),
            waiting_since="needed_at",
            updated_at=pl.max_horizontal("told_at", "acted_at"),
        )
        .with_columns(
            state=pl.when(is_over)
            .then(pl.lit(State.CLEARED))
            .when(pl.col("silenced_until").is_not_null())
            .then(pl.lit(State.SILENCED))
            .when(pl.col("acknowledged_by").is_not_null())
            .then(pl.lit(State.ACKNOWLEDGED))
            .otherwise(pl.lit(State.OPEN))
        )
        .select(*(ALERTS.codec.columns or ()), "state", *_PEOPLE, "waiting_since", "updated_at")
    )


def _latest(deed: str, which: pl.Expr) -> dict[str, pl.Expr]:
    return {f"{deed}_{name}": pl.col(name).filter(which).last() for name in ("by", "at")}


def _silences(actions: pl.DataFrame, now: int) -> pl.DataFrame:
    latest = actions.filter(_IS_SILENCE).unique(["device_id", "rule"], keep="last", maintain_order=True)
    return latest.filter(pl.col("action") == Action.SILENCE, pl.col("until") > now)


_PEOPLE: Final = (
    *("acknowledged_by", "acknowledged_at", "cleared_by", "cleared_at"),
    *("severity_by", "severity_at", "silenced_by", "silenced_until"),
)
