"""What the demo shows and judges by, read where an operator would: the workers' metrics, Kafka's offsets, the newest alerts."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import numpy as np
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.workers import Worker
from schemas.catalog import ALERTS, CONTRACTS, READINGS
from schemas.registry import Registry
from schemas.wire import decode
from streams.settings import Settings

NEWEST: Final = 12
TIMEOUT_SECONDS: Final = 10


@dataclass(frozen=True)
class Figures:
    """The line at one moment; counts are of records."""

    at: float = field(default_factory=time.monotonic)
    gateway: Mapping[str, int] = field(default_factory=dict)
    """Messages by outcome since the gateway's start: received = all others."""
    ledger: Mapping[str, int] = field(default_factory=dict)
    """Readings by outcome since ever: received = accepted + duplicate + late + all rejected."""
    warehouse: Mapping[str, int] = field(default_factory=dict)
    """Records of readings by outcome since the warehouse worker's start."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows by ClickHouse table."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """Records ever written, by topic."""
    lag: Mapping[str, int] = field(default_factory=dict)
    """Readings not yet committed, by consumer group."""

    @property
    def rejected(self) -> int:
        """Readings the factory worker rejected."""
        return sum(count for outcome, count in self.ledger.items() if outcome.startswith("rejected/"))


class Reader:
    """Reads all figures; what does not answer at the moment leaves its part empty."""

    def __init__(self, settings: Settings, workers: Mapping[str, Worker]) -> None:
        self._workers = workers
        self._http = httpx.Client(timeout=2)
        common = {"bootstrap.servers": settings.kafka, "enable.auto.commit": False, "log_level": 0}
        self._groups = {name: Consumer({**common, "group.id": name}) for name in ("factory", "warehouse")}

    def read(self) -> Figures:
        """The figures now."""
        ends = {topic: self._ends(topic) for topic in CONTRACTS}
        return Figures(
            gateway=self._metric("gateway", "headrace_gateway_messages_total"),
            ledger=self._metric("factory", "headrace_ledger_records_total"),
            warehouse=self._metric("warehouse", "headrace_warehouse_records_total", topic=READINGS.topic),
            rows=self._rows(),
            ends={topic: sum(of_partitions.values()) for topic, of_partitions in ends.items()},
            lag={name: self._lag(group, ends[READINGS.topic]) for name, group in self._groups.items()},
        )

    def close(self) -> None:
        """Disconnect."""
        self._http.close()
        for group in self._groups.values():
            group.close()

    def _metric(self, worker: str, name: str, **labels: str) -> dict[str, int]:
        """Values of a worker's metric by the label `outcome`, summed over all labels but those given."""
        try:
            page = self._http.get(self._workers[worker].url("/metrics")).raise_for_status().text
        except httpx.HTTPError:
            return {}
        sums: Counter[str] = Counter()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    sums[sample.labels["outcome"]] += int(sample.value)
        return dict(sums)

    def _rows(self) -> dict[str, int]:
        try:
            answer = self._http.get(self._workers["warehouse"].url("/warehouse/counts")).raise_for_status()
        except httpx.HTTPError:
            return {}
        rows: dict[str, int] = answer.json()["rows"]
        return rows

    def _ends(self, topic: str) -> dict[int, int]:
        consumer = self._groups["factory"]
        partitions = [TopicPartition(topic, p) for p in range(CONTRACTS[topic].partitions)]
        return {p.partition: consumer.get_watermark_offsets(p, timeout=TIMEOUT_SECONDS)[1] for p in partitions}

    def _lag(self, group: Consumer, ends: Mapping[int, int]) -> int:
        committed = group.committed([TopicPartition(READINGS.topic, p) for p in ends], timeout=TIMEOUT_SECONDS)
        return sum(max(ends[position.partition] - max(position.offset, 0), 0) for position in committed)


class Feed:
    """The alerts raised since the feed was opened."""

    def __init__(self, settings: Settings) -> None:
        registry = Registry(settings.registry, settings.data / "schemas")
        self._writers = {registry.register(ALERTS): ALERTS.codec}
        self._consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": "demo", "enable.auto.commit": False, "log_level": 0})
        self._consumer.assign([TopicPartition(ALERTS.topic, p, OFFSET_END) for p in range(ALERTS.partitions)])
        self.newest: deque[dict[str, Any]] = deque(maxlen=NEWEST)
        self.changes: Counter[str] = Counter()
        """Changes of episodes by status."""
        self._delays_ms: list[int] = []

    def poll(self, seconds: float) -> None:
        """Take in what has come, and wait so long for it."""
        messages = [m for m in self._consumer.consume(1_000, timeout=seconds) if m.error() is None]
        alerts = decode([m.value() for m in messages], ALERTS.codec, self._writers).frame
        for alert in alerts.iter_rows(named=True):
            self.newest.appendleft(alert)
            self.changes[alert["status"]] += 1
            if not alert["historic"]:
                self._delays_ms.append(messages[alert["row"]].timestamp()[1] - alert["changed_at"])

    def delay_ms(self, percent: float) -> float | None:
        """Percentile of the time from the device's measurement to the alert in Kafka, in milliseconds."""
        return float(np.percentile(self._delays_ms, percent)) if self._delays_ms else None

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
