"""What operators say, for those who are not workers: what is in a topic of one partition, and more into it."""

import getpass
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, cast

import polars as pl
from pydantic import BaseModel

from agents.limits import Limits, refused
from agents.reading import Domain
from schemas.catalog import SENSORS, Contract
from schemas.registry import Registry
from schemas.wire import decode, encode
from streams.clock import now_ms
from streams.producer import deliver
from streams.reader import TopicReader
from streams.settings import Settings, settings

TIMEOUT_SECONDS: Final = 10


def latest(contract: Contract) -> pl.DataFrame:
    """The latest record of each key, columns of the contract's schema. Raises KafkaException, RegistryDown."""
    return records(contract).unique(contract.key, keep="last", maintain_order=True)


def records(contract: Contract) -> pl.DataFrame:
    """Every record that is there, in the order they were applied in. Raises KafkaException, RegistryDown."""
    registry = Registry(settings().registry, settings().data / "schemas")
    writers = {registry.register(contract): contract.codec}
    with closing(TopicReader(contract)) as topic:
        values = [value for partition in topic.spans for batch in topic.batches(partition) for value in batch.values]
    return decode(values, contract.codec, writers).frame.drop("row")


def with_sensor_types(domain: Domain) -> Domain:
    """The domain with the sensor types operators applied. Raises KafkaException, RegistryDown."""
    if domain.limits is None:
        return domain
    applied = list(records(SENSORS).filter(domain=domain.name).iter_rows(named=True))
    return replace(domain, limits=Limits(domain.limits.sensors, [record for record in applied if not refused(record)]))


async def apply(ours: Settings, contract: Contract, domain: str, rows: Sequence[BaseModel], **stamp: int) -> None:
    """Write rows, each of which has a name, and `stamp`, by whom and when; return when Kafka has them.

    Raises DeliveryFailed, RegistryDown.
    """
    registry = Registry(ours.registry, ours.data / "schemas")
    schema_id = registry.register(contract)
    key = cast(str, contract.key)
    said: dict[str, Any] = {"domain": domain, "applied_at": now_ms(), "applied_by": operator(), **stamp}
    fields = [row.model_dump(mode="json") for row in rows]
    records = pl.DataFrame([{key: f"{domain}/{row['name']}", **row, **said} for row in fields])
    values: list[bytes | None] = [*encode(contract.codec, schema_id, records.select(list(contract.codec.columns or ())))]
    await deliver(ours.kafka, contract.topic, records[key].cast(pl.Binary).to_list(), values, TIMEOUT_SECONDS)


def operator() -> str:
    """Who runs this command: user and machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
