"""The alerts that the demo's line raises, as they come in Kafka."""

from collections import Counter, deque
from enum import StrEnum
from typing import Any, Final

import numpy as np
from confluent_kafka import OFFSET_END, Consumer, Message, TopicPartition

from agents.domains import DOMAINS
from schemas.catalog import ALERTS, CITY_READINGS, READINGS, RULES, in_kafka
from schemas.registry import Registry, RegistryDown
from streams import operators
from streams.access import quiet
from streams.clock import now_ms
from streams.operators import decode_now
from streams.settings import Settings

NEWEST: Final = 100


class Kind(StrEnum):
    """What an alert is raised by."""

    READINGS = "readings"
    """One measurement: milliseconds after it."""
    TRENDS = "trends and silence"
    """What a minute or an hour showed: as much later by design."""


class Feed:
    """The alerts raised since the feed was opened; those of what was measured before do not count."""

    def __init__(self, settings: Settings) -> None:
        self._registry = Registry(settings.registry, settings.data / "schemas")
        self._registry.register(ALERTS)
        self._consumer = Consumer(
            {**quiet(settings.kafka, settings), "group.id": in_kafka(settings.tenant, "demo"), "enable.auto.commit": False}
        )
        self._consumer.assign([TopicPartition(in_kafka(settings.tenant, ALERTS.topic), p, OFFSET_END) for p in range(ALERTS.partitions)])
        self._unread: list[Message] = []
        self._over_trends = over_trends()
        self._since_ms = now_ms()
        self.newest: deque[dict[str, Any]] = deque(maxlen=NEWEST)
        self.changes: Counter[tuple[str, str]] = Counter()
        """Changes of episodes by domain and status."""
        self._delays_ms: dict[Kind, list[int]] = {kind: [] for kind in Kind}

    def poll(self, seconds: float) -> None:
        """Take in what has come, and wait so long for it."""
        messages = self._unread + [m for m in self._consumer.consume(1_000, timeout=seconds) if m.error() is None]
        try:
            alerts = decode_now([m.value() for m in messages], ALERTS.codec, self._registry).frame
        except RegistryDown:
            self._unread = messages  # until it tells which schema they were written by
            return
        self._unread = []
        for alert in alerts.iter_rows(named=True):
            self.take(alert, messages[alert["row"]].timestamp()[1])

    def take(self, alert: dict[str, Any], in_kafka_ms: int) -> None:
        """Count a change and note how long after its measurement Kafka had it."""
        if alert["changed_at"] < self._since_ms:
            return
        self.newest.appendleft(alert)
        self.changes[alert["domain"], alert["status"]] += 1
        if not alert["historic"]:
            kind = Kind.TRENDS if (alert["domain"], alert["rule"]) in self._over_trends or not _of_readings(alert) else Kind.READINGS
            self._delays_ms[kind].append(in_kafka_ms - alert["changed_at"])

    def raised(self, domain: str) -> int:
        """Alerts of a domain that were raised, or again."""
        return self.changes[domain, "RAISED"] + self.changes[domain, "REOPENED"]

    def delays(self) -> dict[Kind, tuple[int, float, float]]:
        """Of each kind that came: changes, and p50 and p99 of the time from the measurement to the alert in Kafka, ms."""
        came = {kind: np.array(found) for kind, found in self._delays_ms.items() if found}
        return {kind: (len(found), float(np.percentile(found, 50)), float(np.percentile(found, 99))) for kind, found in came.items()}

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


def over_trends() -> frozenset[tuple[str, str]]:
    """Domain and name of each rule that judges a minute and not a reading: the code's, and those operators applied."""
    of_code = {(domain.name, rule.name) for domain in DOMAINS.values() for rule in domain.trend_rules}
    applied = operators.latest(RULES)
    return frozenset(of_code | {*applied.filter(over="trends").select("domain", "name").iter_rows()})


def _of_readings(alert: dict[str, Any]) -> bool:
    domain = DOMAINS.get(alert["domain"])
    return domain is not None and domain.source in (READINGS, CITY_READINGS)
