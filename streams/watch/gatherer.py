"""Batches of a stream that are read in one pass, as they arrive together: a pass over many records costs little more than one over few."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from faust.types import TP, EventT

from streams.lane import Lane

Of = TypeVar("Of")
Arrived = tuple[Lane, EventT[Any]]

TOGETHER_RECORDS: Final = 2_000
# Faust takes some turns of the event loop to pass on each batch of a poll.
SIBLING_SECONDS: Final = 0.002


async def gathered(
    stream: Any,  # noqa: ANN401  # untyped for raw channels
    whose: Callable[[TP], Of],
) -> AsyncIterator[list[tuple[Of, EventT[Any]]]]:
    """What arrives together, in its order, each batch with what its partition is of at that moment: a lane, say.

    A batch that waits here through a rebalance is of a lane that is ours no more: Kafka delivers it again. Those behind it are of another.
    """
    arrived: list[tuple[Of, EventT[Any]]] = []
    async for event in stream.noack().events():
        arrived.append((whose(event.message.tp), event))
        if len(arrived) <= event.value.siblings and sum(len(e.value) for _, e in arrived) < TOGETHER_RECORDS and await _filled(stream):
            continue
        yield arrived
        arrived = []


async def _filled(stream: Any) -> bool:  # noqa: ANN401
    """Wait a moment for the stream's next event, which is on its way; False if it does not come."""
    clock = asyncio.get_running_loop()
    until = clock.time() + SIBLING_SECONDS
    while stream.channel.queue.empty():
        if clock.time() > until:
            return False
        await asyncio.sleep(0)
    return True
