"""Rules run over what is in the log already: which alerts they would have raised, with nothing written anywhere."""

import asyncio
from collections.abc import Callable
from contextlib import closing

import polars as pl

from agents.alerts import NONE
from agents.reading import Domain
from agents.watch import Watch
from schemas.registry import Registry
from streams.reader import TopicReader
from streams.settings import settings
from streams.writers import Writers


async def rehearse(domain: Domain, since_ms: int, progress: Callable[[int, int], None]) -> pl.DataFrame:
    """The alerts of the domain's rules over the records that Kafka took since then, columns of `schemas/avro/alerts.avsc`.

    The watch starts from nothing: what was open before is raised anew, and trends have to warm up. `progress` is told how many records
    of how many are read. Raises KafkaException, RegistryDown.
    """
    registry = Registry(settings().registry, settings().data / "schemas")
    registry.register(domain.source)
    writers = Writers(registry)
    try:
        return await _rehearse(domain, since_ms, writers, progress)
    finally:
        await writers.close()


async def _rehearse(domain: Domain, since_ms: int, writers: Writers, progress: Callable[[int, int], None]) -> pl.DataFrame:
    found, done = [NONE], 0
    with closing(await asyncio.to_thread(TopicReader, domain.source, since_ms)) as topic:
        total = sum(end - start for start, end in topic.spans.values())
        for partition in topic.spans:
            watch, batches = Watch(domain, settings().tenant), topic.batches(partition)
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                while isinstance(observed := watch.observe(batch, writers.known, writers.missing), frozenset):
                    await writers.fetch(observed)
                found += [observed.alerts, watch.settle().alerts]
                done += len(batch)
                progress(min(done, total), total)
    return pl.concat(found)
