"""Alerts as episodes: raised once, reopened within the cooldown, cleared by their own condition, the same for every replay.

The conditions are evaluated over columns; only the readings at which a state may change are looked at one by one.
"""

import math
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import repeat
from typing import Final, NamedTuple

import polars as pl

from agents.episodes import NEVER, Episode, Episodes, Key, is_absorbed, is_forgotten, memory_ms
from agents.rules import Rule, columns, evaluate

MOST_MESSAGE: Final = 1_000
"""Characters of an alert's message: names of devices are other people's, and a record has to fit into Kafka."""


OVER: Final = "{rule} of {device} is over: {subject} is {value:.4g}{unit}"
"""What is said of any episode that is cleared: the rule's own message says what is so no more."""


class Status(StrEnum):
    """What happened to an episode."""

    RAISED = "RAISED"
    REOPENED = "REOPENED"
    ESCALATED = "ESCALATED"
    DEESCALATED = "DEESCALATED"
    CLEARED = "CLEARED"


@dataclass(frozen=True)
class Origin:
    """What all alerts of a worker share."""

    tenant: str
    domain: str
    units: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By sensor type, which is the subject; for messages."""


def alert_id(origin: Origin, key: Key, raised_at: int) -> str:
    """The id of the episode that started at `raised_at`: equal for every change and every replay of it."""
    return blake2b("\x1f".join((origin.tenant, *key, str(raised_at))).encode(), digest_size=16).hexdigest()


def evaluated(rules: Sequence[Rule], readings: pl.DataFrame, episodes: Iterable[Episodes]) -> pl.DataFrame:
    """The readings with the columns of the rules (`agents.rules.evaluate`), and which of them `judge` has to look at one by one.

    Those of devices that raise in this frame or have an open or a pending episode, in any of `episodes`: a few of thousands.
    """
    readings = readings.hstack(evaluate(rules, readings))
    watched = list(episodes)
    masks = []
    for rule in rules:
        keys = set[Key]().union(*(known.open[rule.name] | known.pending[rule.name] for known in watched))
        devices = {key.device_id for key in keys}.union(readings["device_id"].filter(readings[f"{rule.name}/raises"]))
        if devices:
            near = pl.col("device_id").is_in(list(devices))
            changes = pl.col(f"{rule.name}/raises") | pl.col(f"{rule.name}/clears")
            masks.append((near if rule.hold_ms or rule.escalation else near & changes).alias(_near(rule)))
    # all in one: each call of Polars costs 100 µs however few the readings are
    return readings.hstack(readings.select_seq(masks)) if masks else readings


def _near(rule: Rule) -> str:
    """Column of the readings that may matter to the rule's episodes; there is none where none can."""
    return f"{rule.name}/near"


def judge(rules: Sequence[Rule], episodes: Episodes, readings: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """Change the episodes by the readings, in the order of the log, and return one alert for each change.

    `readings` has `device_id`, `subject`, `value`, `timestamp` (ms), `watermark` (ms, on arrival) and what `evaluated` adds. A reading
    behind its watermark raises a historic alert of its own and leaves the episode as it is.
    Columns of the result are those of `schemas/avro/alerts.avsc`. Where a rule raises an exception no episode has changed.
    """
    changes: dict[Key, Episode] = {}
    alerts: list[tuple[object, ...]] = []
    names = set(readings.columns)
    for rule in rules:
        if _near(rule) in names:
            for reading in _turning_points(rule, readings):
                alerts += _step(rule, ChainMap(changes, episodes.data), origin, reading)
    episodes.update(changes)
    return pl.DataFrame(alerts, schema=_SCHEMA, orient="row") if alerts else NONE


class _Reading(NamedTuple):
    device_id: str
    subject: str
    value: float
    timestamp: int
    watermark: int
    raises: bool
    clears: bool
    threshold: float
    expected_at: int | None = None
    confidence: float | None = None
    escalates: bool = False

    @property
    def is_historic(self) -> bool:
        return self.timestamp < self.watermark

    @property
    def told_at(self) -> int:
        return max(self.timestamp, self.watermark)


def _turning_points(rule: Rule, readings: pl.DataFrame) -> Iterator[_Reading]:
    """The readings at which an episode may change: runs of one condition are cut to their first, unless time has to pass."""
    near = readings[_near(rule)]
    told = {name: readings[name] for name in ("device_id", "subject", "value", "timestamp", "watermark")}
    told |= {name: readings[f"{rule.name}/{name}"] for name in columns(rule)}
    latest: dict[tuple[str, str], tuple[bool, bool, bool]] = {}
    # A walk costs 0.4 µs a reading and there are few; grouping them in Polars costs 300 µs however few they are, which is what a
    # small batch costs in all.
    fields = (told[name].filter(near).to_list() if name in told else repeat(_Reading._field_defaults[name]) for name in _Reading._fields)
    for reading in map(_Reading, *fields):
        conditions = (reading.raises, reading.clears, reading.escalates)
        if reading.is_historic:
            if reading.raises or rule.hold_ms:
                yield reading
        elif rule.hold_ms or latest.get(reading[:2]) != conditions:
            latest[reading[:2]] = conditions
            yield reading


def _step(rule: Rule, episodes: MutableMapping[Key, Episode], origin: Origin, reading: _Reading) -> Iterable[tuple[object, ...]]:
    """Advance one episode by one reading; yields at most one alert."""
    key = Key(reading.device_id, reading.subject, rule.name)
    before = episodes.get(key, NEVER)
    if is_forgotten(before, memory_ms(rule), reading.watermark):
        before = NEVER
    advance = _historic if reading.is_historic else _open if before.open else _closed
    episode, status = advance(rule, before, reading)
    if episode is not before:
        episodes[key] = episode
    if status is not None:
        yield _alert(rule, origin, key, reading, status, episode)


_Step = tuple[Episode, Status | None]


def _historic(rule: Rule, episode: Episode, reading: _Reading) -> _Step:
    at, since = reading.timestamp, episode.historic_pending_at
    if not reading.raises:
        return (episode if since is None else episode._replace(historic_pending_at=None)), None
    if is_absorbed(episode, rule.cooldown_ms, at):
        return episode, None
    if _holds(rule, since, at):
        return episode._replace(told_at=reading.told_at, historic_at=at, historic_pending_at=None), Status.RAISED
    return (episode if since is not None else episode._replace(told_at=reading.told_at, historic_pending_at=at)), None


def _closed(rule: Rule, episode: Episode, reading: _Reading) -> _Step:
    at = reading.timestamp
    if not (reading.raises and _holds(rule, episode.pending_at, at)):
        return _waiting(episode, reading, holds=reading.raises), None
    begun = episode._replace(changed_at=at, open=True, told_at=reading.told_at, pending_at=None, escalated=reading.escalates)
    if at - episode.raised_at >= rule.cooldown_ms:
        return begun._replace(raised_at=at), Status.RAISED
    return begun, Status.REOPENED


def _open(rule: Rule, episode: Episode, reading: _Reading) -> _Step:
    at = reading.timestamp
    changed = episode._replace(changed_at=at, told_at=reading.told_at, pending_at=None)
    if reading.clears and not reading.raises:
        return changed._replace(open=False), Status.CLEARED
    if reading.escalates == episode.escalated or not _holds(rule, episode.pending_at, at):
        return _waiting(episode, reading, holds=reading.escalates != episode.escalated), None
    return changed._replace(escalated=reading.escalates), Status.ESCALATED if reading.escalates else Status.DEESCALATED


def _holds(rule: Rule, since: int | None, at: int) -> bool:
    """Whether what has held since then, or since now, has held for long enough."""
    return at - (at if since is None else since) >= rule.hold_ms


def _waiting(episode: Episode, reading: _Reading, *, holds: bool) -> Episode:
    """The episode while what would change it holds, or no longer does."""
    if holds == (episode.pending_at is not None):
        return episode
    return episode._replace(told_at=reading.told_at, pending_at=reading.timestamp) if holds else episode._replace(pending_at=None)


def _alert(rule: Rule, origin: Origin, key: Key, reading: _Reading, status: Status, episode: Episode) -> tuple[object, ...]:
    raised_at = reading.timestamp if reading.is_historic else episode.raised_at
    escalated = reading.escalates if reading.is_historic else episode.escalated
    unit = origin.units.get(key.subject, "")
    facts = {"device": key.device_id, "subject": key.subject, "value": reading.value, "threshold": reading.threshold}
    facts |= {"unit": f" {unit}" if unit else "", "rule": rule.name}
    if reading.confidence is not None:
        minutes = (reading.expected_at - reading.timestamp) / 60_000 if reading.expected_at else math.inf
        facts |= {"minutes": minutes, "confidence": reading.confidence}
    return (
        alert_id(origin, key, raised_at),
        origin.tenant,
        origin.domain,
        key.device_id,
        key.subject,
        rule.name,
        str(rule.severity_of(escalated=escalated)),
        str(status),
        reading.value,
        reading.threshold,
        (OVER if status is Status.CLEARED else rule.message).format(**facts)[:MOST_MESSAGE],
        raised_at,
        reading.timestamp,
        reading.is_historic,
        reading.expected_at,
        reading.confidence,
    )


_SCHEMA: Final = {
    **dict.fromkeys(("alert_id", "tenant", "domain", "device_id", "subject", "rule", "severity", "status"), pl.String),
    **dict.fromkeys(("value", "threshold"), pl.Float64),
    "message": pl.String,
    **dict.fromkeys(("raised_at", "changed_at"), pl.Int64),
    "historic": pl.Boolean,
    "expected_at": pl.Int64,
    "confidence": pl.Float64,
}
NONE: Final = pl.DataFrame(schema=_SCHEMA)
"""No alerts."""
