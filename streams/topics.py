"""Topics of devices' messages that the mapping names and the catalogue does not: made when the first message of them comes."""

from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.catalog import Contract, messages
from streams.access import quiet

TIMEOUT_SECONDS: Final = 5
HOUR_MS: Final = 3_600_000


def kept(contract: Contract) -> dict[str, str]:
    """Kafka's settings of a topic whose records are kept for a while."""
    return {"cleanup.policy": "delete", "retention.ms": str(contract.retention_hours * HOUR_MS)}


def create_missing(servers: str, topics: Iterable[str]) -> set[str]:
    """Make topics of messages that are not there; those that are there now. Waits for Kafka for `TIMEOUT_SECONDS`."""
    admin = AdminClient(quiet(servers))
    there = set[str]()
    wanted = [NewTopic(c.topic, c.partitions, -1, config=kept(c)) for c in map(messages, topics)]
    asked = admin.create_topics(wanted, operation_timeout=TIMEOUT_SECONDS, request_timeout=TIMEOUT_SECONDS) if wanted else {}
    for topic, created in asked.items():
        try:
            created.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                continue
        there.add(topic)
    return there
