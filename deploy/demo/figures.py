"""What the demo shows and judges by, read where an operator would: the workers' metrics and Kafka's offsets."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx
from confluent_kafka import Consumer, KafkaException, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.workers import Worker
from schemas.catalog import CITY_READINGS, CONTRACTS, DISTRICTS, LIGHTS, MESSAGES, READINGS, in_kafka
from streams.access import quiet
from streams.settings import Settings

TIMEOUT_SECONDS: Final = 10
CITY: Final = CITY_READINGS.topic.partition(".")[0]
ANSWER_SECONDS: Final = 5
COUNTING: Final = 9
"""Times as long as counting rows took, until they are counted again: it takes a tenth of a processor at most."""
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
    def waiting(self) -> int:
        """Records that consumer groups have yet to commit."""
        return sum(self.lag.values())

    @property
    def came(self) -> int:
        """Records ever written that they are to take."""
        return sum(self.ends.get(topic, 0) for topics in READ.values() for topic in topics)

    @property
    def moving(self) -> tuple[object, ...]:
        """What changes while messages are on their way, and no longer when nothing moves."""
        counted = (self.gateway, self.ledger, self.devices, self.measurements, self.warehouse, self.lag)
        arrived = (self.messages, *(self.ends.get(topic, 0) for topic in (READINGS.topic, CITY_READINGS.topic)))
        stored = tuple(self.rows.get(sink, 0) for sink in (READINGS.sink, LIGHTS.sink, CITY_READINGS.sink))
        return *(tuple(sorted(counts.items())) for counts in counted), arrived, stored

    @property
    def messages(self) -> int:
        """The city's messages ever written."""
        return sum(self.ends.get(contract.topic, 0) for contract in MESSAGES)


class Reader:
    """Reads all figures; what does not answer at the moment leaves its part as it was."""

    def __init__(self, settings: Settings, workers: Mapping[str, Worker]) -> None:
        self._workers = workers
        self._http = httpx.Client(timeout=ANSWER_SECONDS)
        self._tenant = settings.tenant
        self._last: Figures | None = None
        self._rows_at = 0.0
        self._groups = {
            name: Consumer({**quiet(settings.kafka, settings), "enable.auto.commit": False, "group.id": in_kafka(self._tenant, name)})
            for name in READ
        }

    def read(self) -> Figures:
        """The figures now; those before, if Kafka does not answer."""
        try:
            self._last = self._read()
        except KafkaException:
            # a busy broker: whoever waits for a figure asks again
            if self._last is None:
                raise
        return self._last

    def _read(self) -> Figures:
        ends = {topic: self._ends(topic) for topic in CONTRACTS}
        before = self._last or Figures()
        return Figures(
            gateway=self._metric("gateway", "headrace_gateway_messages_total") or before.gateway,
            ledger=self._metric("factory", "headrace_ledger_records_total") or before.ledger,
            devices=self._devices() or before.devices,
            measurements=self._metric("city", "headrace_ledger_records_total", domain=CITY) or before.measurements,
            warehouse=self._metric("warehouse", "headrace_warehouse_records_total", topic=READINGS.topic) or before.warehouse,
            rows=self._rows() or before.rows,
            ends={topic: sum(of_partitions.values()) for topic, of_partitions in ends.items()},
            lag={name: self._lag(group, {topic: ends[topic] for topic in READ[name]}) for name, group in self._groups.items()},
        )

    def close(self) -> None:
        """Disconnect."""
        self._http.close()
        for group in self._groups.values():
            group.close()

    def _devices(self) -> dict[str, int]:
        if not (outcomes := self._metric("gateway", "headrace_device_messages_total")):
            return {}
        return outcomes | {"spooled": sum(self._metric("gateway", "headrace_spooled_messages").values())}

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
        began = time.monotonic()
        if began < self._rows_at:
            return {}
        try:
            answer = self._http.get(self._workers["warehouse"].url("/warehouse/counts")).raise_for_status()
        except httpx.HTTPError:
            return {}
        finally:
            # to count takes longer the more there is
            now = time.monotonic()
            self._rows_at = now + COUNTING * (now - began)
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
