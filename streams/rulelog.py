"""The topic `rules` for those who are not workers: the latest row of every rule, and new ones into it."""

import getpass
import socket
import time
from collections.abc import Sequence
from typing import Final

import polars as pl
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from agents.rulebook import Row
from schemas.catalog import RULES
from schemas.registry import Registry
from schemas.wire import decode, encode
from streams.producer import Producer
from streams.settings import settings

TIMEOUT_SECONDS: Final = 10


def latest() -> pl.DataFrame:
    """Every rule as it was last applied, columns of `schemas/avro/rules.avsc`. Raises KafkaException, RegistryDown."""
    registry = Registry(settings().registry, settings().data / "schemas")
    writers = {registry.register(RULES): RULES.codec}
    options = {"enable.auto.commit": False, "enable.partition.eof": True, "log_level": 0}
    consumer = Consumer({"bootstrap.servers": settings().kafka, "group.id": "headrace-rules", **options})
    values: list[bytes | None] = []
    try:
        consumer.list_topics(RULES.topic, timeout=TIMEOUT_SECONDS)  # says so if Kafka is away, where reading would wait
        consumer.assign([TopicPartition(RULES.topic, 0, OFFSET_BEGINNING)])
        while True:
            message = consumer.poll(TIMEOUT_SECONDS)
            if message is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001  # its public name
            if (error := message.error()) is None:
                values.append(message.value())
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                break
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
    return decode(values, RULES.codec, writers).frame.drop("row").unique("rule_id", keep="last", maintain_order=True)


async def apply(domain: str, rows: Sequence[Row]) -> None:
    """Write rows, and return when Kafka has them. Raises DeliveryFailed, RegistryDown."""
    registry = Registry(settings().registry, settings().data / "schemas")
    schema_id = registry.register(RULES)
    stamp = {"domain": domain, "applied_at": int(time.time() * 1000), "applied_by": f"{getpass.getuser()}@{socket.gethostname()}"}
    records = pl.DataFrame([{"rule_id": f"{domain}/{row.name}", **row.model_dump(mode="json"), **stamp} for row in rows])
    values: list[bytes | None] = [*encode(RULES.codec, schema_id, records.select(list(RULES.codec.columns or ())))]
    producer = Producer(settings().kafka, delivery_seconds=TIMEOUT_SECONDS)
    try:
        await producer.send_batch(RULES.topic, records["rule_id"].cast(pl.Binary).to_list(), values)
        await producer.flush()
    finally:
        await producer.close()
