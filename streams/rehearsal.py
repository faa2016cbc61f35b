"""Rules run over what is in the log already: which alerts they would have raised, with nothing written anywhere."""

import asyncio
from collections.abc import Callable
from typing import Final

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from agents.alerts import NONE
from agents.reading import Domain
from agents.watch import Watch
from schemas.catalog import Contract
from schemas.registry import Registry
from streams.batches import Batch
from streams.settings import settings
from streams.writers import Writers

AT_ONCE: Final = 10_000
TIMEOUT_SECONDS: Final = 10


async def rehearse(domain: Domain, since_ms: int, progress: Callable[[int, int], None]) -> pl.DataFrame:
    """The alerts of the domain's rules over the records that Kafka took since then, columns of `schemas/avro/alerts.avsc`.

    The watch starts from nothing: what was open before is raised anew, and trends have to warm up. `progress` is told how many records
    of how many are read. Raises KafkaException, RegistryDown.
    """
    source, registry = domain.source, Registry(settings().registry, settings().data / "schemas")
    registry.register(source)
    writers = Writers(registry)
    options = {"enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({"bootstrap.servers": settings().kafka, "group.id": "headrace-rehearsal", **options})
    found = []
    try:
        spans = await asyncio.to_thread(_spans, consumer, source, since_ms)
        total, done = sum(end - start for start, end in spans.values()), 0
        for partition, (start, end) in spans.items():
            watch = Watch(domain, settings().tenant)
            consumer.assign([TopicPartition(source.topic, partition, start)])
            while start < end:
                messages = await asyncio.to_thread(consumer.consume, AT_ONCE, TIMEOUT_SECONDS)
                batch = _batch(source.topic, partition, messages)
                if not batch:
                    break
                while isinstance(observed := watch.observe(batch, writers.known, writers.missing), frozenset):
                    await writers.fetch(observed)
                found += [observed.alerts, watch.settle().alerts]
                done, start = done + batch.last + 1 - start, batch.last + 1
                progress(min(done, total), total)
    finally:
        consumer.close()
        await writers.close()
    return pl.concat(found) if found else NONE


def _spans(consumer: Consumer, source: Contract, since_ms: int) -> dict[int, tuple[int, int]]:
    """First offset since then and the end, of each partition that has any."""
    asked = [TopicPartition(source.topic, partition, since_ms) for partition in range(source.partitions)]
    starts = {found.partition: found.offset for found in consumer.offsets_for_times(asked, timeout=TIMEOUT_SECONDS)}
    ends = {tp.partition: consumer.get_watermark_offsets(tp, timeout=TIMEOUT_SECONDS)[1] for tp in asked}
    return {partition: (start, ends[partition]) for partition, start in starts.items() if 0 <= start < ends[partition]}


def _batch(topic: str, partition: int, messages: list[Message]) -> Batch:
    batch = Batch(topic, partition)
    for message in messages:
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                continue
            raise KafkaException(error)
        batch.append(message)
    return batch
