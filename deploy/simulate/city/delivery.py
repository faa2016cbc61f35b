"""What goes wrong on the way: messages sent twice, and joined by garbage. Adds messages, never takes one."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
import polars as pl

from deploy.simulate.city.signals import Signals

DUPLICATE_SECONDS: Final = 2
MESSAGES_AT_ONCE: Final = 10_000
NO_NUMBER: Final = -1
"""Of what the truth is not about: garbage and heartbeats."""
_SPOIL: Final = (
    lambda payload: payload[:-1],
    lambda payload: b"\x7f" + blake2b(payload).digest(),
    lambda _: b"",
)
"""Half of a JSON text, random bytes, nothing."""


@dataclass(frozen=True)
class Mix:
    """Shares of the messages, 0 to 1."""

    duplicates: float = 0
    """Sent again within two seconds, as by a device that missed the answer."""
    garbage: float = 0
    """Joined by a message that nobody can read."""


def inject(messages: pl.DataFrame, mix: Mix, seed: tuple[int, ...]) -> pl.DataFrame:
    """Messages and what goes wrong, with `fault`: null, duplicate or garbage."""
    rng = np.random.default_rng(seed)
    draw, delay = rng.random(messages.height), rng.random(messages.height)
    later = pl.Series("sent_at", (delay * DUPLICATE_SECONDS * 1000).astype(np.int64))
    copies = messages.with_columns(pl.col("sent_at") + later, fault=pl.lit("duplicate")).filter(draw < mix.duplicates)
    # beside a message that is not doubled, so no message has two faults
    spoiled = messages.filter((draw >= mix.duplicates) & (draw < mix.duplicates + mix.garbage))
    payloads = [_SPOIL[row % len(_SPOIL)](payload) for row, payload in enumerate(spoiled["payload"])]
    garbage = spoiled.with_columns(
        pl.lit(NO_NUMBER, pl.Int64).alias("number"), pl.Series("payload", payloads, dtype=pl.Binary), fault=pl.lit("garbage")
    )
    return pl.concat([messages.with_columns(fault=pl.lit(None, pl.String)), copies, garbage])


def deliveries(signals: Signals, mix: Mix, rounds: int | None, rounds_at_once: int, stop: asyncio.Event) -> Iterator[pl.DataFrame]:
    """Messages in order of `sent_at`, a second or less at a time, of `rounds` rounds (None: up to `stop`); copies held back come last."""
    held = pl.DataFrame()
    first = 0
    while not stop.is_set() and (rounds is None or first < rounds):
        count = rounds_at_once if rounds is None else min(rounds_at_once, rounds - first)
        made = inject(signals.messages(first, count), mix, (signals.seed, 1, first))
        first += count
        waiting = pl.concat([held, made]) if held.height else made
        leaves = waiting["sent_at"] < signals.start_ms + first * signals.period_ms
        held = waiting.filter(~leaves)
        yield from _by_second(waiting.filter(leaves))
    yield from _by_second(held)


def _by_second(messages: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A round of a big city that says little takes an hour."""
    if messages.height:
        ordered = messages.sort("sent_at", maintain_order=True)
        yield from (part for _, part in ordered.group_by(pl.col("sent_at") // 1000, maintain_order=True))


def again(signals: Signals, start_ms: int, end_ms: int) -> Iterator[pl.DataFrame]:
    """The messages that were sent from `start_ms` up to `end_ms`, once more, in order."""
    first, end = (int(max(0.0, at - signals.start_ms) // signals.period_ms) for at in (start_ms, end_ms))
    sent = pl.col("sent_at").is_between(start_ms, end_ms, closed="left")
    at_once = max(1, MESSAGES_AT_ONCE // signals.fleet.height)
    for start in range(first, end + 1, at_once):
        yield signals.messages(start, min(at_once, end + 1 - start)).filter(sent).with_columns(fault=pl.lit("resent"))


def heartbeats(signals: Signals, at_ms: int) -> pl.DataFrame:
    """One of each device, as it says when it has come back."""
    devices = signals.fleet.height
    payload = f'{{"timestamp":{at_ms},"status":"online"}}'.encode()
    columns = {"device": np.arange(devices), "sequence": NO_NUMBER, "number": NO_NUMBER, "timestamp": at_ms, "sent_at": at_ms}
    return pl.DataFrame(columns).with_columns(pl.lit(payload).alias("payload"), fault=pl.lit("heartbeat"))
