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
from schemas.catalog import ALERTS, CITY_READINGS, CONTRACTS, DISTRICTS, MESSAGES, READINGS, in_kafka
from schemas.registry import Registry
from schemas.wire import decode
from streams.access import quiet
from streams.settings import Settings

NEWEST: Final = 12
TIMEOUT_SECONDS: Final = 10
_MESSAGES: Final = tuple(contract.topic for contract in MESSAGES)
READ: Final[Mapping[str, tuple[str, ...]]] = {
    "factory": (READINGS.topic,),
    "city": (*_MESSAGES, CITY_READINGS.topic, DISTRICTS.topic),
    "warehouse": (READINGS.topic, *_MESSAGES, CITY_READINGS.topic),
}
"""The topics by which each consumer group is asked whether it is behind."""


@dataclass(frozen=True)
class Figures:
    """The line at one moment; counts are of records."""

    at: float = field(default_factory=time.monotonic)
    gateway: Mapping[str, int] = field(default_factory=dict)
    """Messages by outcome since the gateway's start: received = all others."""
    ledger: Mapping[str, int] = field(default_factory=dict)
    """Readings by outcome since ever: received = accepted + duplicate + late + all rejected."""
    devices: Mapping[str, int] = field(default_factory=dict)
    """Messages of the city's devices by outcome since the gateway's start: accepted = delivered + spooled + rejected + duplicate."""
    measurements: Mapping[str, int] = field(default_factory=dict)
    """The city's measurements by outcome since ever, as the readings' ledger."""
    warehouse: Mapping[str, int] = field(default_factory=dict)
    """Records of readings by outcome since the warehouse worker's start."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Rows by ClickHouse table."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """Records ever written, by topic."""
    lag: Mapping[str, int] = field(default_factory=dict)
    """Records not yet committed, by consumer group."""

    @property
    def messages(self) -> int:
        """The city's messages ever written."""
        return sum(self.ends.get(contract.topic, 0) for contract in MESSAGES)


class Reader:
    """Reads all figures; what does not answer at the moment leaves its part empty."""

    def __init__(self, settings: Settings, workers: Mapping[str, Worker]) -> None:
        self._workers = workers
        self._http = httpx.Client(timeout=2)
        self._tenant = settings.tenant
        common = {**quiet(settings.kafka, settings), "enable.auto.commit": False}
        self._groups = {name: Consumer({**common, "group.id": in_kafka(self._tenant, name)}) for name in READ}

    def read(self) -> Figures:
        """The figures now."""
        ends = {topic: self._ends(topic) for topic in CONTRACTS}
        return Figures(
            gateway=self._metric("gateway", "headrace_gateway_messages_total"),
            ledger=self._metric("factory", "headrace_ledger_records_total"),
            devices=self._metric("gateway", "headrace_device_messages_total") | self._spooled(),
            measurements=self._metric("city", "headrace_ledger_records_total", domain=CITY_READINGS.topic.partition(".")[0]),
            warehouse=self._metric("warehouse", "headrace_warehouse_records_total", topic=READINGS.topic),
            rows=self._rows(),
            ends={topic: sum(of_partitions.values()) for topic, of_partitions in ends.items()},
            lag={name: self._lag(group, {topic: ends[topic] for topic in READ[name]}) for name, group in self._groups.items()},
        )

    def close(self) -> None:
        """Disconnect."""
        self._http.close()
        for group in self._groups.values():
            group.close()

    def _spooled(self) -> dict[str, int]:
        return {"spooled": sum(self._metric("gateway", "headrace_spooled_messages").values())}

    def _metric(self, worker: str, name: str, **labels: str) -> dict[str, int]:
        """Values of a worker's metric by the label `outcome`, if it has it, summed over all labels but those given."""
        try:
            page = self._http.get(self._workers[worker].url("/metrics")).raise_for_status().text
        except httpx.HTTPError:
            return {}
        sums: Counter[str] = Counter()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    sums[sample.labels.get("outcome", "")] += int(sample.value)
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
        partitions = [TopicPartition(in_kafka(self._tenant, topic), p) for p in range(CONTRACTS[topic].partitions)]
        return {p.partition: consumer.get_watermark_offsets(p, timeout=TIMEOUT_SECONDS)[1] for p in partitions}

    def _lag(self, group: Consumer, ends: Mapping[str, Mapping[int, int]]) -> int:
        of_kafka = {in_kafka(self._tenant, topic): of_topic for topic, of_topic in ends.items()}
        asked = [TopicPartition(topic, partition) for topic, of_topic in of_kafka.items() for partition in of_topic]
        committed = group.committed(asked, timeout=TIMEOUT_SECONDS)
        return sum(max(of_kafka[position.topic][position.partition] - max(position.offset, 0), 0) for position in committed)


class Feed:
    """The alerts raised since the feed was opened."""

    def __init__(self, settings: Settings) -> None:
        registry = Registry(settings.registry, settings.data / "schemas")
        self._writers = {registry.register(ALERTS): ALERTS.codec}
        self._consumer = Consumer(
            {**quiet(settings.kafka, settings), "group.id": in_kafka(settings.tenant, "demo"), "enable.auto.commit": False}
        )
        self._consumer.assign([TopicPartition(in_kafka(settings.tenant, ALERTS.topic), p, OFFSET_END) for p in range(ALERTS.partitions)])
        self.newest: deque[dict[str, Any]] = deque(maxlen=NEWEST)
        self.changes: Counter[tuple[str, str]] = Counter()
        """Changes of episodes by domain and status."""
        self._delays_ms: list[int] = []

    def poll(self, seconds: float) -> None:
        """Take in what has come, and wait so long for it."""
        messages = [m for m in self._consumer.consume(1_000, timeout=seconds) if m.error() is None]
        alerts = decode([m.value() for m in messages], ALERTS.codec, self._writers).frame
        for alert in alerts.iter_rows(named=True):
            self.newest.appendleft(alert)
            self.changes[alert["domain"], alert["status"]] += 1
            if not alert["historic"]:
                self._delays_ms.append(messages[alert["row"]].timestamp()[1] - alert["changed_at"])

    def raised(self, domain: str) -> int:
        """Alerts of a domain that were raised, or again."""
        return self.changes[domain, "RAISED"] + self.changes[domain, "REOPENED"]

    def delay_ms(self, percent: float) -> float | None:
        """Percentile of the time from the device's measurement to the alert in Kafka, in milliseconds."""
        return float(np.percentile(self._delays_ms, percent)) if self._delays_ms else None

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()
