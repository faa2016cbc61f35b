"""Which partitions have their checkpoint now: those of much take turns, those of little go together, and less often."""

from collections.abc import Collection
from typing import Final

from streams.lane import Lane

# Between two checkpoints of one partition. The work of one is what alerts wait for: of much, it is done for one partition at a time.
CHECKPOINT_SECONDS: Final = 1.0
# A checkpoint costs 5 ms however little it holds, and half of that for each partition more: eight a second were a third of a city's work.
QUIET_SECONDS: Final = 3.0
# What is little: it is folded in less time than a batch takes.
LITTLE_READINGS: Final = 1_000


def due(lanes: Collection[Lane], now: float) -> list[Lane]:
    """Partitions to checkpoint together at a time of the monotonic clock, and those that took nothing in, which may have fallen silent."""
    silent = [lane for lane in lanes if not lane.observed]
    waiting = [lane for lane in lanes if lane.observed and now - lane.checkpoint_at >= _interval(lane)]
    if not waiting:
        return silent
    oldest = min(waiting, key=lambda lane: lane.checkpoint_at)
    together = [lane for lane in lanes if lane.observed and _has_little(lane)] if _has_little(oldest) else [oldest]
    return [*together, *silent]


def pause(lanes: Collection[Lane]) -> float:
    """Seconds until the next turn."""
    return CHECKPOINT_SECONDS / max(1, sum(not _has_little(lane) for lane in lanes))


def _has_little(lane: Lane) -> bool:
    return lane.watch.unsettled <= LITTLE_READINGS


def _interval(lane: Lane) -> float:
    return QUIET_SECONDS if _has_little(lane) else CHECKPOINT_SECONDS
