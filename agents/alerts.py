"""Alerts as episodes: raised once, reopened within the cooldown, cleared by their own condition, the same for every replay.

The conditions are evaluated over columns; only the readings at which a state may change are looked at one by one.
"""

import math
from collections import ChainMap, UserDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

import polars as pl

from agents.rules import Rule, columns

# How long after its cooldown an episode still absorbs historic readings: what a gateway that was offline for an hour delivers.
MEMORY_MS: Final = 3_600_000


class Status(StrEnum):
    """What happened to an episode."""

    RAISED = "RAISED"
    REOPENED = "REOPENED"
    CLEARED = "CLEARED"


class Key(NamedTuple):
    """Whose episode, of which rule."""

    device_id: str
    subject: str
    rule: str


class Episode(NamedTuple):
    """The latest episode of a key; times are event time in milliseconds, zero for one that is only there for its historic alert."""

    raised_at: int
    changed_at: int
    open: bool
    told_at: int
    """Watermark of the latest change, or its event time if that is greater."""
    historic_at: int | None = None
    """Latest historic alert of the key, which absorbs others within the cooldown."""


class Episodes(UserDict[Key, Episode]):
    """The latest episode of every key."""

    def __init__(self, episodes: Iterable[tuple[Key, Episode]] = ()) -> None:
        """Start with these."""
        self.open: defaultdict[str, set[Key]] = defaultdict(set)
        """Rule → keys of the open ones: few, where those that are remembered may be many."""
        super().__init__(episodes)

    def __setitem__(self, key: Key, episode: Episode) -> None:
        """Put in the place of the former."""
        super().__setitem__(key, episode)
        if episode.open:
            self.open[key.rule].add(key)
        else:
            self.open[key.rule].discard(key)

    def __delitem__(self, key: Key) -> None:
        """Forget."""
        super().__delitem__(key)
        self.open[key.rule].discard(key)


@dataclass(frozen=True)
class Origin:
    """What all alerts of a worker share."""

    tenant: str
    domain: str


def alert_id(origin: Origin, key: Key, raised_at: int) -> str:
    """The id of the episode that started at `raised_at`: equal for every change and every replay of it."""
    return blake2b("\x1f".join((origin.tenant, *key, str(raised_at))).encode(), digest_size=16).hexdigest()


def judge(rules: Sequence[Rule], episodes: Episodes, readings: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """Change the episodes by the readings, in the order of the log, and return one alert for each change.

    `readings` has `device_id`, `subject`, `value`, `timestamp` (ms), `watermark` (ms, on arrival) and the columns of the rules
    (`agents.rules.evaluate`). A reading behind its watermark raises a historic alert of its own and leaves the episode as it is.
    Columns of the result are those of `schemas/avro/alerts.avsc`. Where a rule raises an exception no episode has changed.
    """
    changes: dict[Key, Episode] = {}
    alerts: list[tuple[object, ...]] = []
    for rule in rules:
        for reading in _turning_points(rule, episodes, readings):
            alerts += _step(rule, ChainMap(changes, episodes.data), origin, reading)
    episodes.update(changes)
    return pl.DataFrame(alerts, schema=_SCHEMA, orient="row") if alerts else NONE


def forget(rules: Sequence[Rule], episodes: Episodes, watermark: int) -> None:
    """Drop closed episodes that no reading can meet any more (see `MEMORY_MS`); nothing an alert depends on."""
    cooldowns = {rule.name: rule.cooldown_ms for rule in rules}
    for key, episode in list(episodes.items()):
        if _is_forgotten(episode, cooldowns.get(key.rule, 0), watermark):
            del episodes[key]


def to_frame(episodes: Mapping[Key, Episode]) -> pl.DataFrame:
    """The episodes as a frame, in order of their key, for the checkpoint."""
    return pl.DataFrame([(*key, *episodes[key]) for key in sorted(episodes)], schema=_EPISODE_SCHEMA, orient="row")


def from_frame(frame: pl.DataFrame) -> Episodes:
    """The reverse of `to_frame`."""
    return Episodes((Key(*row[:3]), Episode(*row[3:])) for row in frame.select(*_EPISODE_SCHEMA).iter_rows())


class _Reading(NamedTuple):
    device_id: str
    subject: str
    value: float
    timestamp: int
    watermark: int
    raises: bool
    threshold: float
    expected_at: int | None = None
    confidence: float | None = None


def _turning_points(rule: Rule, episodes: Episodes, readings: pl.DataFrame) -> Iterator[_Reading]:
    """The readings at which an episode may change: runs of one condition are cut to their first.

    Only devices that raise in this batch or have an open episode matter, a few of thousands.
    """
    raises, clears, *judged = (readings[f"{rule.name}/{column}"] for column in columns(rule))
    devices = {key.device_id for key in episodes.open[rule.name]}.union(readings["device_id"].filter(raises))
    if not devices:
        return
    near = (raises | clears) & readings["device_id"].is_in(list(devices))
    told = [*(readings[name] for name in ("device_id", "subject", "value", "timestamp", "watermark")), raises, *judged]
    latest: dict[tuple[str, str], bool] = {}
    # A walk costs 0.4 µs a reading and there are few; grouping them in Polars costs 300 µs however few they are, which is what a
    # small batch costs in all.
    for reading in map(_Reading, *(column.filter(near).to_list() for column in told)):
        if reading.timestamp < reading.watermark:
            if reading.raises:
                yield reading
        elif latest.get(reading[:2]) != reading.raises:
            latest[reading[:2]] = reading.raises
            yield reading


def _step(rule: Rule, episodes: MutableMapping[Key, Episode], origin: Origin, reading: _Reading) -> Iterable[tuple[object, ...]]:
    """Advance one episode by one reading; yields at most one alert."""
    key = Key(reading.device_id, reading.subject, rule.name)
    episode = episodes.get(key)
    if episode is not None and _is_forgotten(episode, rule.cooldown_ms, reading.watermark):
        episode = None
    at = reading.timestamp
    told_at = max(at, reading.watermark)
    if at < reading.watermark:
        if not _is_absorbed(episode, rule.cooldown_ms, at):
            absorbing = episode or Episode(0, 0, open=False, told_at=told_at)
            episodes[key] = absorbing._replace(told_at=told_at, historic_at=at)
            yield _alert(rule, origin, key, reading, Status.RAISED, at)
    elif not reading.raises:
        if episode is not None and episode.open:
            episodes[key] = episode._replace(open=False, changed_at=at, told_at=told_at)
            yield _alert(rule, origin, key, reading, Status.CLEARED, episode.raised_at)
    elif episode is None or (not episode.open and at - episode.raised_at >= rule.cooldown_ms):
        episodes[key] = Episode(at, at, open=True, told_at=told_at, historic_at=episode.historic_at if episode else None)
        yield _alert(rule, origin, key, reading, Status.RAISED, at)
    elif not episode.open:
        episodes[key] = episode._replace(open=True, changed_at=at, told_at=told_at)
        yield _alert(rule, origin, key, reading, Status.REOPENED, episode.raised_at)


def _is_forgotten(episode: Episode, cooldown_ms: int, watermark: int) -> bool:
    return not episode.open and episode.told_at + cooldown_ms + MEMORY_MS < watermark


def _is_absorbed(episode: Episode | None, cooldown_ms: int, at: int) -> bool:
    """Whether a historic reading belongs to an episode already told of."""
    if episode is None:
        return False
    within = episode.raised_at <= at and (episode.open or at <= episode.changed_at)
    near = abs(at - episode.raised_at) < cooldown_ms
    return within or near or (episode.historic_at is not None and abs(at - episode.historic_at) < cooldown_ms)


def _alert(rule: Rule, origin: Origin, key: Key, reading: _Reading, status: Status, raised_at: int) -> tuple[object, ...]:
    facts = {"device": key.device_id, "subject": key.subject, "value": reading.value, "threshold": reading.threshold}
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
        str(rule.severity),
        str(status),
        reading.value,
        reading.threshold,
        rule.message.format(**facts),
        raised_at,
        reading.timestamp,
        reading.timestamp < reading.watermark,
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
_EPISODE_SCHEMA: Final = {
    **dict.fromkeys(("device_id", "subject", "rule"), pl.String),
    **dict.fromkeys(("raised_at", "changed_at"), pl.Int64),
    "open": pl.Boolean,
    **dict.fromkeys(("told_at", "historic_at"), pl.Int64),
}
