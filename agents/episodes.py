"""Episodes as they are remembered: the latest of every key, what of it is pending, and until when a closed one matters."""

from collections import UserDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple

import polars as pl

from agents.rules import Rule

# How long after its cooldown an episode still absorbs historic readings: what a gateway that was offline for an hour delivers.
MEMORY_MS: Final = 3_600_000


class Key(NamedTuple):
    """Whose episode, of which rule."""

    device_id: str
    subject: str
    rule: str


class Episode(NamedTuple):
    """The latest episode of a key; times are event time in milliseconds, zero for one that has not begun."""

    raised_at: int
    changed_at: int
    open: bool
    told_at: int
    """Watermark of the latest change, or its event time if that is greater."""
    historic_at: int | None = None
    """Latest historic alert of the key, which absorbs others within the cooldown."""
    pending_at: int | None = None
    """Since when what changes it has held, but not for long enough: what raises it or, once it is open, another severity."""
    historic_pending_at: int | None = None
    """The same of historic readings, which raise a historic alert."""
    escalated: bool = False


NEVER: Final = Episode(0, 0, open=False, told_at=0)
"""None has begun."""


class Episodes(UserDict[Key, Episode]):
    """The latest episode of every key."""

    def __init__(self, episodes: Iterable[tuple[Key, Episode]] = ()) -> None:
        """Start with these."""
        self.open: defaultdict[str, set[Key]] = defaultdict(set)
        """Rule → keys of the open ones: few, where those that are remembered may be many."""
        self.pending: defaultdict[str, set[Key]] = defaultdict(set)
        """Rule → keys of those of which something has held, but not for long enough."""
        self._changed = set[Key]()
        super().__init__(episodes)
        self._changed.clear()

    def __setitem__(self, key: Key, episode: Episode) -> None:
        """Put in the place of the former."""
        super().__setitem__(key, episode)
        self._changed.add(key)
        _mark(self.open[key.rule], key, there=episode.open)
        _mark(self.pending[key.rule], key, there=episode.pending_at is not None or episode.historic_pending_at is not None)

    def __delitem__(self, key: Key) -> None:
        """Forget."""
        super().__delitem__(key)
        self._changed.add(key)
        self.open[key.rule].discard(key)
        self.pending[key.rule].discard(key)

    def changes(self) -> dict[Key, Episode | None]:
        """What was put here or forgotten (None) since they were last asked for."""
        changed, self._changed = self._changed, set()
        return {key: self.data.get(key) for key in changed}


def _mark(keys: set[Key], key: Key, *, there: bool) -> None:
    if there:
        keys.add(key)
    else:
        keys.discard(key)


def forget(rules: Sequence[Rule], episodes: Episodes, watermark: int) -> None:
    """Drop closed episodes that no reading can meet any more (see `MEMORY_MS`); nothing an alert depends on."""
    memories = {rule.name: memory_ms(rule) for rule in rules}
    for key, episode in list(episodes.items()):
        if is_forgotten(episode, memories.get(key.rule, MEMORY_MS), watermark):
            del episodes[key]


def to_frame(episodes: Mapping[Key, Episode]) -> pl.DataFrame:
    """The episodes as a frame, in order of their key, for the checkpoint."""
    # column by column and sorted by Polars, which lets other threads work meanwhile: alerts wait for half as long
    columns = zip(*((*key, *episode) for key, episode in episodes.items()), strict=True) if episodes else repeat(())
    filled = [pl.Series(name, column, dtype) for (name, dtype), column in zip(_SCHEMA.items(), columns, strict=False)]
    return pl.DataFrame(filled).sort(Key._fields)


def advance(frame: pl.DataFrame, changes: Mapping[Key, Episode | None]) -> pl.DataFrame:
    """From `to_frame` of what was to that of what is, by what has changed: they are thousands, and few change in a second."""
    replaced = pl.DataFrame(list(changes), dict.fromkeys(Key._fields, pl.String), orient="row")
    put = to_frame({key: episode for key, episode in changes.items() if episode is not None})
    return pl.concat([frame.join(replaced, on=Key._fields, how="anti"), put]).sort(Key._fields)


def from_frame(frame: pl.DataFrame) -> Episodes:
    """The reverse of `to_frame`; one of before there were hold times lacks the last columns."""
    known = [name for name in _SCHEMA if name in frame.columns]
    return Episodes((Key(*row[:3]), Episode(*row[3:])) for row in frame.select(*known).iter_rows())


def memory_ms(rule: Rule) -> int:
    """How long a closed episode of the rule is remembered."""
    return max(rule.cooldown_ms, rule.hold_ms) + MEMORY_MS


def is_forgotten(episode: Episode, remembered_ms: int, watermark: int) -> bool:
    """Whether no reading can meet a closed episode any more."""
    return not episode.open and episode.told_at + remembered_ms < watermark


def is_absorbed(episode: Episode, cooldown_ms: int, at: int) -> bool:
    """Whether a historic reading belongs to an episode already told of."""
    within = episode.raised_at <= at and (episode.open or at <= episode.changed_at)
    near = abs(at - episode.raised_at) < cooldown_ms
    return within or near or (episode.historic_at is not None and abs(at - episode.historic_at) < cooldown_ms)


_SCHEMA: Final = {
    **dict.fromkeys(("device_id", "subject", "rule"), pl.String),
    **dict.fromkeys(("raised_at", "changed_at"), pl.Int64),
    "open": pl.Boolean,
    **dict.fromkeys(("told_at", "historic_at", "pending_at", "historic_pending_at"), pl.Int64),
    "escalated": pl.Boolean,
}
