import asyncio
from collections import Counter

from schemas.registry import RegistryDown
from streams.writers import CONCURRENCY, Writers

PATIENCE = 60


class Registry:
    """Tells of the ids of `told`, and gives no answer about others."""

    def __init__(self, *told):
        self.known, self.told, self.asked = {}, set(told), Counter()

    async def writer(self, schema_id):
        self.asked[schema_id] += 1
        if schema_id not in self.told:
            raise RegistryDown("http://nowhere", "busy")

    async def close(self):
        pass


async def test_ids_that_get_no_answer_are_no_reason_not_to_ask_for_others():
    writers = Writers(Registry(99))
    garbage = asyncio.ensure_future(writers.fetch({*range(1, 3 * CONCURRENCY)}))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await writers.fetch({99})
    assert writers.missing == {99}
    assert not garbage.done()
    garbage.cancel()
    await writers.close()


async def test_however_many_wait_for_an_id_it_is_asked_for_once():
    registry = Registry(7)
    writers = Writers(registry)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(writers.fetch({7}) for _ in range(50)))
    assert registry.asked == {7: 1}


async def test_who_waits_no_more_takes_nobody_s_answer_away():
    registry = Registry()
    writers = Writers(registry)
    first, second = (asyncio.ensure_future(writers.fetch({7})) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0)
    registry.told.add(7)
    async with asyncio.timeout(PATIENCE):
        await second
    assert writers.missing == {7}
