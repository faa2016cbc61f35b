"""A topic of factory readings as in life: every sensor once a second, event time ending now, the same values for the same seed."""

import time
from dataclasses import dataclass
from typing import Final

import polars as pl
from confluent_kafka import Producer
from rich.progress import track

from agents.factory.sensors import SENSORS
from deploy.simulate.faults import Faults, inject
from deploy.simulate.fleet import fleet
from deploy.simulate.records import render
from deploy.simulate.signals import Signals
from schemas.catalog import READINGS
from schemas.wire import encode

SEED: Final = 20_240_229
INVALID: Final = 0.001
"""Share of readings joined by one that is outside what the sensor can measure."""
PERIOD_MS: Final = 1_000
RECORDS_AT_ONCE: Final = 50_000
QUEUE_RECORDS: Final = 400_000

# The producers of the line: 32 KB batches, snappy, partitions as Java's clients choose them.
PRODUCER: Final = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "snappy",
    "batch.size": 32_768,
    "linger.ms": 5,
    "partitioner": "murmur2_random",
    "log_level": 0,
    "queue.buffering.max.messages": 2 * QUEUE_RECORDS,
}


@dataclass(frozen=True)
class Loaded:
    """What the topic holds: `seconds` of event time of `devices`; of its `records` so many are `invalid`, so many `critical`."""

    devices: int
    seconds: int
    records: int
    invalid: int
    critical: int


class Readings:
    """The simulator's five plants: each sensor once a period, a second if nothing else is said, from `start_ms` on."""

    def __init__(self, devices: int, start_ms: int, period_ms: int = PERIOD_MS) -> None:
        self.channels = fleet(devices, SEED)
        self._healthy = self.channels["wear_seconds"].is_null()
        self._signals = Signals(self.channels, SEED, start_ms, period_ms)

    def some(self, first: int, periods: int) -> pl.DataFrame:
        """Those of some periods in order of event time: the columns of `factory.readings`, and booleans `invalid` and `critical`."""
        faults = Faults(duplicates=0, disorder=0, late=0, garbage=INVALID)
        sound = self._signals.readings(first, periods)
        sent = inject(sound, faults, ["out_of_range"], self._healthy, (SEED, first)).sort("sent_at", maintain_order=True)
        invalid = sent["fault"].is_not_null()
        return render(self.channels, sent).with_columns(
            invalid=invalid, critical=~invalid & (sent["value"] > self.channels["critical"].gather(sent["channel"]))
        )


def load(kafka: str, schema_id: int, *, devices: int, records: int, period_ms: int = PERIOD_MS, end_ms: int | None = None) -> Loaded:
    """Fill the readings topic with at least `records` records, the last of `end_ms` (none: now). The Kafka timestamp is the event time."""
    channels = devices * len(SENSORS)
    periods = -(-records // channels)
    readings = Readings(devices, (end_ms or int(time.time() * 1000)) - periods * period_ms, period_ms)
    producer = Producer({**PRODUCER, "bootstrap.servers": kafka})
    count = invalid = critical = 0
    at_once = max(1, RECORDS_AT_ONCE // channels)
    for first in track(range(0, periods, at_once), f"loading {periods * channels:,} readings of {devices:,} devices"):
        frame = readings.some(first, min(at_once, periods - first))
        keys = frame["device_id"].cast(pl.Binary)
        for key, value, timestamp in zip(keys, encode(READINGS.codec, schema_id, frame), frame["timestamp"].to_list(), strict=True):
            producer.produce(READINGS.topic, value, key, timestamp=timestamp)
        while len(producer) > QUEUE_RECORDS:
            producer.poll(0.01)
        count += frame.height
        invalid += int(frame["invalid"].sum())
        critical += int(frame["critical"].sum())
    if left := producer.flush(60):
        raise TimeoutError(f"{left} records were not delivered")
    return Loaded(devices, periods * period_ms // 1000, count, invalid, critical)
