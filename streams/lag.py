"""How far behind the log a worker is. The log's end is asked of Kafka by a client of its own: the consumer may be what hangs."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # documented there, exported implicitly
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from schemas.catalog import Contract
from streams import transport
from streams.access import named, quiet

if TYPE_CHECKING:
    from streams.assembly import App

Waits = Callable[[], Mapping[TP, str]]

TIMEOUT_SECONDS: Final = 5.0


class LogEnds:
    """The ends of some topics' partitions when Kafka was last asked, and when it last answered."""

    def __init__(self, servers: str) -> None:
        """Of topics at the Kafka `servers`."""
        self._servers = servers
        self.ends: Mapping[TP, int] = {}
        """Offset of the record that comes next."""
        self.answered_at = float("-inf")
        """On the monotonic clock."""

    def connect(self, contracts: Iterable[Contract]) -> None:
        """Connect in the background; these will be asked for."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        self._asked = {TopicPartition(named(c.topic), number): latest for c in contracts for number in range(c.partitions)}
        self._admin = AdminClient({**quiet(self._servers), "reconnect.backoff.max.ms": 1000})

    def ask(self) -> bool:
        """Ask Kafka and wait; False where it does not answer for every partition in time, and nothing changes."""
        try:
            answers = self._admin.list_offsets(self._asked, request_timeout=TIMEOUT_SECONDS)
            self.ends = {TP(tp.topic, tp.partition): answer.result().offset for tp, answer in answers.items()}
        except KafkaException:
            # Without this librdkafka remembers the leaders of before a failover and is refused for ever (FENCED_LEADER_EPOCH).
            with suppress(KafkaException):
                self._admin.list_topics(timeout=TIMEOUT_SECONDS)
            return False
        self.answered_at = time.monotonic()
        return True


class Consumption(NamedTuple):
    """How far one partition is consumed; an offset is None while it is not known."""

    tp: TP
    committed: int | None
    end: int | None
    unacknowledged: int
    drained: bool
    """Whether nothing is left to read or to acknowledge; what ends in a transaction's marker is drained and not committed to its end."""

    @property
    def lag(self) -> int:
        """Records to go."""
        return 0 if self.drained or self.end is None else max(0, self.end - (self.committed or 0))


def consumption(app: "App", ends: Mapping[TP, int]) -> list[Consumption]:
    """Of each partition the worker reads; none while partitions move or state is recovered."""
    if app.producer_only or not app.tables.actives_ready:
        return []
    consumer = cast(transport.Consumer, app.consumer)
    topics = {named(contract.topic) for contract in app.reads}
    unacknowledged = Counter(message.tp for message in consumer.unacked)
    rows = []
    for tp in sorted(consumer.assignment()):
        if tp.topic in topics:
            end, reached = ends.get(tp), consumer.reached(tp)
            drained = not unacknowledged[tp] and end is not None and reached is not None and reached >= end
            rows.append(Consumption(tp, consumer.committed(tp), end, unacknowledged[tp], drained))
    return rows


def recovery_of(app: "App") -> Recovery:
    """Faust's service that reads the changelogs."""
    return cast(TableManager, app.tables).recovery


def waiting(app: "App") -> dict[TP, str]:
    """Partitions that wait for something which is away, and for what."""
    return {tp: what for waits in app.waits for tp, what in waits().items()}
