"""The open-loop load of the latency part: records leave by a clock that waits for nobody, and each carries the time it was due.

Run as `python -m bench.pace <load.json> <sent.parquet>` in a process of its own. Every body is encoded beforehand, all but its timestamp.
"""

import gc
import sys
import time
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, Self

import orjson
import polars as pl
from confluent_kafka import Producer
from fastavro import schemaless_writer

from agents.factory.sensors import SENSORS
from bench.load import PERIOD_MS, PRODUCER, SEED
from deploy.simulate.fleet import fleet
from deploy.simulate.records import render
from deploy.simulate.signals import Signals
from schemas.catalog import READINGS
from schemas.wire import encode

TICK_SECONDS: Final = 0.005
LINGER_MS: Final = 1
ALERTS_PER_SECOND: Final = 100
PLACEHOLDER_MS: Final = 2_000_000_000_123
"""Stands for the timestamp in the encoded bodies; as many bytes as any of this century."""


@dataclass(frozen=True)
class Load:
    """What to send: `rate` records/s for `seconds` from Unix time `start`, from `rate` sensors that report once a second each."""

    kafka: str
    schema_id: int
    rate: int
    seconds: int
    start: float
    alerts_per_second: int = ALERTS_PER_SECOND

    def write(self, path: Path) -> None:
        """Store for the generator's process."""
        path.write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The load stored at `path`."""
        return cls(**orjson.loads(path.read_bytes()))

    @property
    def stride(self) -> int:
        """One record in so many is critical; also the number of seconds after which a sensor would be so a second time."""
        return self.rate // self.alerts_per_second


def bodies(schema_id: int, channels: pl.DataFrame, sent: pl.DataFrame) -> list[tuple[bytes, bytes]]:
    """Readings (columns channel, value, sent_at, fault) as what goes before and after their timestamps."""
    frame = render(channels, sent.with_columns(timestamp=pl.lit(PLACEHOLDER_MS)))
    placeholder = avro_long(PLACEHOLDER_MS)
    parts = [tuple(body.split(placeholder)) for body in encode(READINGS.codec, schema_id, frame)]
    return [(before, after) for before, after in parts]


def avro_long(number: int) -> bytes:
    """An Avro long."""
    out = BytesIO()
    schemaless_writer(out, "long", number)
    return out.getvalue()


def sensors(load: Load) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A fleet of as many sensors as there are records a second, and in which order they report (channel, sent_at, fault)."""
    channels = fleet(-(-load.rate // len(SENSORS)), SEED)
    moments = Signals(channels, SEED, int(load.start * 1000), PERIOD_MS).readings(0, 1).head(load.rate)
    return channels, moments.select("channel", sent_at="timestamp", fault=pl.lit(None, pl.String))


def pace(load: Load) -> pl.DataFrame:
    """Send it all. Returns the critical readings, one a row: device_id, sensor_type, timestamp (ms), due and sent (Unix seconds)."""
    channels, sent = sensors(load)
    in_turn = channels[sent["channel"]]
    normal = bodies(load.schema_id, channels, sent.with_columns(in_turn["value"]))
    critical = bodies(load.schema_id, channels, sent.with_columns(value=(in_turn["critical"] + in_turn["maximum"]) / 2))
    keys = in_turn["device_id"].cast(pl.Binary).to_list()
    producer = Producer({**PRODUCER, "bootstrap.servers": load.kafka, "linger.ms": LINGER_MS})
    produce, topic, rate, stride = producer.produce, READINGS.topic, load.rate, load.stride
    total, done = load.rate * load.seconds, 0
    rows: list[tuple[int, int, float, float]] = []
    stamped_ms, stamp = 0, b""
    gc.disable()  # a collection is a pause, and nothing here makes cycles
    while done < total:
        now = time.time()
        for n in range(done, min(total, int((now - load.start) * rate))):
            lap, sensor = divmod(n, rate)
            due = load.start + n / rate
            if (due_ms := int(due * 1000)) != stamped_ms:
                stamped_ms, stamp = due_ms, avro_long(due_ms)
            if sensor % stride == lap % stride:
                rows.append((sensor, due_ms, due, now))
                before, after = critical[sensor]
            else:
                before, after = normal[sensor]
            produce(topic, before + stamp + after, keys[sensor], timestamp=due_ms)
            done = n + 1
        producer.poll(0)
        time.sleep(max(0.0, TICK_SECONDS - (time.time() - now)))
    if left := producer.flush(30):
        raise SystemExit(f"{left} records were not delivered")
    hot = pl.DataFrame(rows, schema={"sensor": pl.UInt32, "timestamp": pl.Int64, "due": pl.Float64, "sent": pl.Float64}, orient="row")
    return in_turn.select("device_id", "sensor_type").with_row_index("sensor").join(hot, on="sensor").drop("sensor")


if __name__ == "__main__":
    pace(Load.read(Path(sys.argv[1]))).write_parquet(sys.argv[2])
