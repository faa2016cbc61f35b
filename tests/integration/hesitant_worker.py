"""The factory worker with 3 ms before each further batch of a pass, and many rebalances: some come while batches are gathered."""

import asyncio

from streams.factory import app
from streams.watch import gatherer

__all__ = ["app"]

filled = gatherer._filled


async def hesitant(stream):
    found = await filled(stream)
    if found:
        await asyncio.sleep(0.003)
    return found


gatherer._filled = hesitant


@app.task
async def rejoin():
    """The others join again, too, where the worker leads the group. A checkpoint each second must get through in between."""
    for _ in range(15):
        await asyncio.sleep(2)
        thread = app.consumer._thread
        coordinator = thread._consumer and thread._consumer._coordinator
        if coordinator:
            thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)
