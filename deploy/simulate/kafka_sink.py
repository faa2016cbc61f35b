"""Readings straight into Kafka, as fast as it takes them, as the gateway would write them."""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

import polars as pl

from deploy.simulate.records import render
from schemas.catalog import READINGS
from schemas.rejects import Reason
from schemas.wire import encode
from streams.access import named
from streams.producer import Producer

REJECTED: Final[Mapping[str, Reason]] = {
    "truncated": Reason.UNDECODABLE,
    "garbled": Reason.UNDECODABLE,
    "random": Reason.BAD_MAGIC,
    "wrong_magic": Reason.BAD_MAGIC,
    "empty": Reason.BAD_MAGIC,
    "unknown_schema": Reason.UNKNOWN_SCHEMA,
    "tombstone": Reason.TOMBSTONE,
    "wrong_key": Reason.WRONG_KEY,
    "unknown_sensor": Reason.UNKNOWN_SENSOR,
    "not_finite": Reason.NOT_FINITE,
    "infinite": Reason.NOT_FINITE,
    "out_of_range": Reason.OUT_OF_RANGE,
    "timestamp_zero": Reason.BAD_TIMESTAMP,
    "timestamp_in_seconds": Reason.BAD_TIMESTAMP,
    "timestamp_ahead": Reason.BAD_TIMESTAMP,
}
"""Garbage in Kafka, and what the worker rejects it for."""

_SPOIL: Final[Mapping[str, Callable[[bytes], bytes | None]]] = {
    "truncated": lambda value: value[: len(value) // 2],
    "garbled": lambda value: value[:5] + b"\xff" * (len(value) - 5),
    "random": lambda value: b"\x7f" + blake2b(value).digest(),
    "wrong_magic": lambda value: b"\x01" + value[1:],
    "empty": lambda _: b"",
    "unknown_schema": lambda value: b"\x00\x7f\xff\xff\xff" + value[5:],
    "tombstone": lambda _: None,
}


class KafkaSink:
    """Produces to `factory.readings` with the time of sending as Kafka's timestamp."""

    def __init__(self, fleet: pl.DataFrame, servers: str, schema_id: int) -> None:
        """`schema_id`: the registry's id of SensorReading."""
        self._fleet = fleet
        self._schema_id = schema_id
        self._producer = Producer(servers)

    async def send(self, records: pl.DataFrame) -> None:
        """Encode and queue."""
        readings = render(self._fleet, records)
        values: list[bytes | None] = [*encode(READINGS.codec, self._schema_id, readings)]
        keys: list[bytes | None] = readings["device_id"].cast(pl.Binary).to_list()
        for row, fault in (
            records.with_row_index().filter(pl.col("fault").is_in([*_SPOIL, "wrong_key"])).select("index", "fault").iter_rows()
        ):
            if fault == "wrong_key":
                keys[row] = b"nobody"
            else:
                values[row] = _SPOIL[fault](values[row] or b"")
        await self._producer.send_batch(named(READINGS.topic), keys, values, timestamps=records["sent_at"].to_list())

    @property
    def pending(self) -> int:
        """Unknown before the end: librdkafka has them."""
        return 0

    def unacknowledged(self) -> list[int]:
        """None: `close` raises DeliveryFailed instead."""
        return []

    async def close(self) -> None:
        """Wait for Kafka; raises DeliveryFailed."""
        await self._producer.flush()
        await self._producer.close()
