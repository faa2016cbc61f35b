"""Time from the moment a critical reading was due to the arrival of its alert at a consumer, under open-loop load."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import psutil
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from bench.measure import BenchError, Sample, check_alive, running, usage
from bench.pace import Load
from schemas.catalog import ALERTS
from schemas.wire import decode

WARM_UP_SECONDS: Final = 10
"""Sent before the measured time at the same rate: caches and connections warm, the backlog of the start worked off."""
PATIENCE_SECONDS: Final = 15
"""How long after the last reading an alert may take before it counts as missing."""


@dataclass(frozen=True)
class Latency:
    """Produce-to-alert latency in milliseconds at `rate` readings/s.

    The percentiles are over the `seconds` after the warm-up, `alerts` and `missing` over all. `behind_ms`: by how much the generator was
    late at worst, which is part of every figure.
    """

    rate: int
    seconds: int
    alerts: int
    missing: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    behind_ms: float


class Listener:
    """A consumer of the alerts topic, from its end, that notes when each record arrived."""

    def __init__(self, kafka: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": kafka, "group.id": "bench-latency", "enable.auto.commit": False, "log_level": 0})
        metadata = self._consumer.list_topics(ALERTS.topic, timeout=10).topics[ALERTS.topic]
        self._consumer.assign([TopicPartition(ALERTS.topic, p, OFFSET_END) for p in metadata.partitions])
        self.arrivals: list[tuple[float, bytes]] = []

    def listen(self, seconds: float) -> None:
        """Collect for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            message = self._consumer.poll(min(left, 0.1))
            if message is not None and message.error() is None:
                self.arrivals.append((time.time(), message.value() or b""))

    def alerts(self) -> pl.DataFrame:
        """What arrived, decoded: the columns of `alerts` and arrived (Unix seconds)."""
        values = [value for _, value in self.arrivals]
        ids = {int.from_bytes(value[1:5]) for value in values}
        decoded = decode(values, ALERTS.codec, dict.fromkeys(ids, ALERTS.codec))
        return decoded.frame.with_columns(arrived=pl.Series([at for at, _ in self.arrivals]).gather(decoded.frame["row"]))

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def latency(
    worker: psutil.Popen, log: Path, *, load: Load, command: list[str], env: Mapping[str, str], work: Path
) -> tuple[Latency, list[Sample]]:
    """Run the generator `command` beside the worker; gives the percentiles and the worker's CPU and memory, looked at once a second."""
    load_file, sent_file, pace_log = work / "load.json", work / "sent.parquet", work / "pace.log"
    sent_file.unlink(missing_ok=True)
    if load.seconds > load.stride:
        raise BenchError(f"at {load.rate}/s the generator runs out of fresh sensors after {load.stride} s; {load.seconds} s were asked for")
    load.write(load_file)
    samples: list[Sample] = []
    with (
        closing(Listener(load.kafka)) as listener,
        running([*command, str(load_file), str(sent_file)], env=env, cwd=Path.cwd(), log=pace_log) as generator,
    ):
        while generator.poll() is None:
            check_alive(worker, log)
            listener.listen(1.0)
            samples.append(Sample(time.time() - load.start, 0, *usage(worker)))
        if generator.returncode:
            check_alive(generator, pace_log)
        listener.listen(PATIENCE_SECONDS)
        found = match(pl.read_parquet(sent_file), listener.alerts())
    return percentiles(load, found), samples


def match(sent: pl.DataFrame, alerts: pl.DataFrame) -> pl.DataFrame:
    """Each critical reading with the first arrival of its alert, null where none came."""
    opened = (
        alerts.filter(pl.col("status") != "CLEARED")
        .group_by(device_id="device_id", sensor_type="subject", timestamp="changed_at")
        .agg(pl.col("arrived").min())
    )
    return sent.join(opened, on=["device_id", "sensor_type", "timestamp"], how="left")


def percentiles(load: Load, found: pl.DataFrame) -> Latency:
    """The figures of one rate; raises BenchError where no alert came at all."""
    warm = found.filter(pl.col("due") >= load.start + WARM_UP_SECONDS)
    took_ms = (warm["arrived"] - warm["due"]).drop_nulls().to_numpy() * 1000
    if not len(took_ms):
        raise BenchError(f"at {load.rate}/s none of {found.height} critical readings gave an alert")
    p50, p99, p999 = np.percentile(took_ms, [50, 99, 99.9], method="higher")
    return Latency(
        rate=load.rate,
        seconds=load.seconds - WARM_UP_SECONDS,
        alerts=found.height,
        missing=found["arrived"].null_count(),
        p50_ms=float(p50),
        p99_ms=float(p99),
        p999_ms=float(p999),
        max_ms=float(took_ms.max()),
        behind_ms=float((warm["sent"] - warm["due"]).to_numpy().max() * 1000),
    )
