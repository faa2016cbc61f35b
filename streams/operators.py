"""What operators say, for those who are not workers: what is in a topic of one partition, and more into it."""

import getpass
import logging
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final, Protocol, cast

import polars as pl

from agents.gateway.registration import Registration
from agents.limits import Limits, refused
from agents.reading import Domain
from schemas.catalog import SENSORS, Contract
from schemas.codec import Codec
from schemas.registry import Registry
from schemas.rejects import Reason
from schemas.wire import Decoded, decode, encode
from streams.access import named
from streams.clock import now_ms
from streams.producer import deliver
from streams.reader import TopicReader
from streams.settings import Settings, settings

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 10


class Row(Protocol):
    """What an operator applies: a pydantic model that has a name."""

    @property
    def name(self) -> str: ...  # noqa: D102
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...  # noqa: D102


def latest(contract: Contract) -> pl.DataFrame:
    """The latest record of each key, columns of the contract's schema. Raises KafkaException, RegistryDown."""
    return records(contract).unique(contract.key, keep="last", maintain_order=True)


def records(contract: Contract) -> pl.DataFrame:
    """Every record that is there, in the order they were applied in. Raises KafkaException, RegistryDown."""
    registry = Registry(settings().registry, settings().data / "schemas")
    registry.register(contract)
    with closing(TopicReader(contract)) as topic:
        values = [value for partition in topic.spans for batch in topic.batches(partition) for value in batch.values]
    decoded = decode_now(values, contract.codec, registry)
    for reject in decoded.rejects:
        if reject.reason is not Reason.TOMBSTONE:
            logger.warning("record_unfit topic=%s reason=%s %s", contract.topic, reject.reason, reject.detail)
    return decoded.frame.drop("row")


def decode_now(values: Sequence[bytes | None], reader: Codec, registry: Registry) -> Decoded:
    """The values' rows and rejects, whatever schema each was written by; the registry is asked for those not met yet.

    Raises RegistryDown.
    """
    missing: set[int] = set()
    while (decoded := decode(values, reader, registry.known, missing)).unknown:
        missing |= {schema_id for schema_id in decoded.unknown if registry.writer_now(schema_id) is None}
    return decoded


def with_sensor_types(domain: Domain) -> Domain:
    """The domain with the sensor types operators applied. Raises KafkaException, RegistryDown."""
    if domain.limits is None:
        return domain
    applied = list(records(SENSORS).filter(domain=domain.name).iter_rows(named=True))
    return replace(domain, limits=Limits(domain.limits.sensors, [record for record in applied if not refused(record)]))


async def apply(ours: Settings, contract: Contract, domain: str, rows: Sequence[Row], **stamp: int) -> None:
    """Write rows and `stamp`, by whom and when, each row keyed by domain and name; return when Kafka has them.

    Raises DeliveryFailed, RegistryDown.
    """
    key = cast(str, contract.key)
    said: dict[str, Any] = {"domain": domain, "applied_at": now_ms(), "applied_by": operator(), **stamp}
    records = pl.DataFrame([{key: f"{domain}/{row.name}", **row.model_dump(mode="json"), **said} for row in rows])
    await write(ours, contract, records.select(list(contract.codec.columns or ())))


async def write(ours: Settings, contract: Contract, records: pl.DataFrame) -> None:
    """Write records, columns of the contract's schema; return when Kafka has them. Raises DeliveryFailed, RegistryDown."""
    schema_id = Registry(ours.registry, ours.data / "schemas").register(contract)
    values: list[bytes | None] = [*encode(contract.codec, schema_id, records)]
    keys = records[cast(str, contract.key)].cast(pl.Binary).to_list()
    await deliver(ours.kafka, named(contract.topic), keys, values, TIMEOUT_SECONDS)


def operator() -> str:
    """Who runs this command: user and machine."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def device_record(device: Registration, by: str) -> dict[str, Any]:
    """A device's record of the topic `devices`, as of now."""
    return {"device_key": device.key, **device.model_dump(), "applied_at": now_ms(), "applied_by": by}
