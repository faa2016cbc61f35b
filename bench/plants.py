"""`python -m bench.plants`: how long a plant's aggregates take to the centre, between two clusters with a registry each.

The uplink leaves a record's Kafka timestamp, so a consumer at the centre sees when the plant's worker wrote it.
"""

import multiprocessing
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import polars as pl
from aiokafka.partitioner import murmur2
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from bench import report
from bench.jobs import Job, faust_worker
from bench.load import PRODUCER
from bench.measure import BenchError, check_alive, running
from bench.stack import local_stack
from deploy.simulate.fleet import fleet
from schemas.catalog import ALERTS, WINDOWS, Contract
from schemas.registry import Registry
from schemas.wire import encode
from streams.assembly import BREATH_SECONDS, SLICE_ROWS
from streams.settings import Settings
from streams.watch.turns import CHECKPOINT_SECONDS

UPLINK: Final = Job("uplink", "uplink", faust_worker("streams.uplink"))
MACHINES: Final = 1_000
"""Of a plant, six sensors each: at a minute's end each sensor has a window of one minute and one of ten."""
BURST_SECONDS: Final = 10
"""Six times as often as in life, so that the tail of a burst is seen more than once."""
SECONDS: Final = 60
ALERTS_PER_SECOND: Final = 50
BACKLOG: Final = 20 * MACHINES * 12
"""Windows that wait when the uplink starts: twenty minutes of the centre's absence."""
PATIENCE_SECONDS: Final = 30.0
LISTEN_SECONDS: Final = 0.005
"""Records are noted as old as they are so long after they came; one at a time would take the listener longer than the uplink."""
TARGET_MS: Final = 100


def encoded(settings: Settings, contract: Contract) -> list[tuple[bytes, bytes]]:
    """Key and value of a plant's records for the centre: every window of a minute's end, or one alert of each sensor."""
    windows = fleet(MACHINES, seed=1).select("device_id", "sensor_type").join(pl.DataFrame({"window_seconds": [60, 600]}), how="cross")
    rows = windows.select(
        pl.col(name) if name in windows.columns else pl.lit(_LIKELY[dtype], dtype).alias(name)
        for name, dtype in contract.codec.columns.items()
    )
    schema_id = Registry(settings.registry, settings.data / "schemas").register(contract)
    return list(zip(rows["device_id"].cast(pl.Binary), encode(contract.codec, schema_id, rows), strict=True))


_LIKELY: Final = {pl.String: "a word or two", pl.Int32: 60, pl.Int64: 1_800_000_000_000, pl.Float64: 20.5, pl.Boolean: False}


def generate(kafka: str, windows: list[tuple[bytes, bytes]], alerts: list[tuple[bytes, bytes]]) -> None:
    """Alerts at a steady rate and bursts of windows, by a clock that waits for nobody.

    A burst comes as the factory's worker writes it: the partitions' checkpoints take turns within a second, each in slices with a breath
    between them.
    """
    producer = Producer({**PRODUCER, "bootstrap.servers": kafka})
    due = [(n / ALERTS_PER_SECOND, ALERTS.topic, [alerts[n % len(alerts)]]) for n in range(SECONDS * ALERTS_PER_SECOND)]
    for partition in range(WINDOWS.partitions):
        own = [record for record in windows if (murmur2(record[0]) & 0x7FFFFFFF) % WINDOWS.partitions == partition]
        for number, first in enumerate(range(0, len(own), SLICE_ROWS)):
            after = partition * CHECKPOINT_SECONDS / WINDOWS.partitions + number * BREATH_SECONDS
            due += [
                (second + after, WINDOWS.topic, own[first : first + SLICE_ROWS])
                for second in range(BURST_SECONDS // 2, SECONDS, BURST_SECONDS)
            ]
    started = time.monotonic()
    for at, topic, records in sorted(due, key=lambda what: what[0]):
        while (left := started + at - time.monotonic()) > 0:
            producer.poll(left)
        for key, value in records:
            producer.produce(topic, value, key)
    if left := producer.flush(PATIENCE_SECONDS):
        raise SystemExit(f"{left} records were not delivered")


class Listener:
    """A consumer at the centre that notes of each record how old it was when it came."""

    def __init__(self, kafka: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": kafka, "group.id": "bench-plants", "enable.auto.commit": False, "log_level": 0})
        self._consumer.assign([TopicPartition(c.topic, p, OFFSET_END) for c in (WINDOWS, ALERTS) for p in range(c.partitions)])

    def hear(self, wanted: Mapping[str, int]) -> dict[str, list[float]]:
        """Age in milliseconds of the next so many records of each topic; fewer where none came for half a minute."""
        ages: dict[str, list[float]] = {topic: [] for topic in wanted}
        silent_at = time.monotonic() + PATIENCE_SECONDS
        while any(len(ages[topic]) < count for topic, count in wanted.items()) and time.monotonic() < silent_at:
            messages = [message for message in self._consumer.consume(1_000, LISTEN_SECONDS) if message.error() is None]
            now_ms = time.time() * 1000
            for message in messages:
                ages[message.topic() or ""].append(now_ms - message.timestamp()[1])
            if messages:
                silent_at = time.monotonic() + PATIENCE_SECONDS
        return ages

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def figures(topic: str, ages: list[float], sent: int) -> dict[str, Any]:
    """Percentiles of one topic, and how much came within the target."""
    p50, p99 = np.percentile(ages, [50, 99], method="higher")
    within = sum(age < TARGET_MS for age in ages) / sent
    return {"topic": topic, "records": sent, "missing": sent - len(ages), "p50_ms": p50, "p99_ms": p99, "max_ms": max(ages)} | {
        f"within_{TARGET_MS}_ms": f"{within:.2%}"
    }


def measure(folder: Path) -> dict[str, Any]:
    """Two clusters, an uplink between them: a backlog first, then the load of a minute."""
    with ExitStack() as held:
        plant, centre = (held.enter_context(local_stack(folder / name, "kafka", "registry")).settings for name in ("plant", "centre"))
        windows, alerts = encoded(plant, WINDOWS), encoded(plant, ALERTS)
        backlog = Producer({**PRODUCER, "bootstrap.servers": plant.kafka})
        for number in range(BACKLOG):
            key, value = windows[number % len(windows)]
            backlog.produce(WINDOWS.topic, value, key)
        if backlog.flush(PATIENCE_SECONDS):
            raise BenchError("the plant's Kafka does not take the backlog")
        listener = held.enter_context(closing(Listener(centre.kafka)))
        settings = plant.model_copy(update={"centre": centre.kafka, "centre_registry": centre.registry})
        log = folder / "uplink.log"
        command, environment = UPLINK.command(settings, folder / "uplink"), UPLINK.environment(settings, folder / "uplink")
        worker = held.enter_context(running(command, env=environment, cwd=Path.cwd(), log=log))
        first = listener.hear({WINDOWS.topic: 1})[WINDOWS.topic]
        started = time.monotonic()
        rest = listener.hear({WINDOWS.topic: BACKLOG - len(first)})[WINDOWS.topic]
        caught_up = len(rest) / (time.monotonic() - started)
        load = multiprocessing.get_context("spawn").Process(target=generate, args=(plant.kafka, windows, alerts))
        load.start()
        sent = {WINDOWS.topic: SECONDS // BURST_SECONDS * len(windows), ALERTS.topic: SECONDS * ALERTS_PER_SECOND}
        ages = listener.hear(sent)
        load.join()
        check_alive(worker, log)
    return {
        "burst": len(windows),
        "burst_seconds": BURST_SECONDS,
        "alerts_per_second": ALERTS_PER_SECOND,
        "backlog": BACKLOG,
        "caught_up_per_second": caught_up,
        "latency": [figures(topic, ages[topic], count) for topic, count in sent.items()],
    }


def main() -> None:
    """Run, keep the figures, and write them into `bench/RESULTS.md`."""
    with TemporaryDirectory() as folder:
        found = measure(Path(folder))
    report.keep("plants", found)
    print(f"caught up at {found['caught_up_per_second']:,.0f} records/s")
    for row in found["latency"]:
        print(" ".join(f"{name}={value:.1f}" if isinstance(value, float) else f"{name}={value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
