"""Kafka topics from the catalogue: made before any worker starts, because a worker sees a later one only after minutes."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.catalog import CHANGELOGS, CONTRACTS

HOUR_MS: Final = 3_600_000
TIMEOUT_SECONDS: Final = 30


# A changelog holds state that is replaced every second: small segments, cleaned soon, keep what recovery has to read near the state's
# own size. Keys are written once and deleted once, so nothing needs to be kept from compaction.
COMPACTED: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(32 << 20),
    "segment.ms": "60000",
    "segment.jitter.ms": "20000",  # not all partitions at once
    "min.cleanable.dirty.ratio": "0.2",
    "delete.retention.ms": "600000",
}


class TopicMismatchError(Exception):
    """A topic exists with another number of partitions."""


def ensure_topics(bootstrap: str) -> list[str]:
    """Create the catalogue's topics and changelogs that are not there, and return their names.

    Raises TopicMismatchError if one is there with other partitions, KafkaException if Kafka does not answer.
    """
    wanted = [
        NewTopic(c.topic, c.partitions, -1, config=COMPACTED if c.compacted else _kept(c.retention_hours)) for c in CONTRACTS.values()
    ]
    wanted += [NewTopic(name, source.partitions, -1, config=COMPACTED) for name, source in CHANGELOGS.items()]
    return _ensure(bootstrap, wanted)


def _kept(hours: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(hours * HOUR_MS)}


def _ensure(bootstrap: str, wanted: list[NewTopic]) -> list[str]:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    there = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    for topic in wanted:
        if topic.topic in there and len(there[topic.topic].partitions) != topic.num_partitions:
            raise TopicMismatchError(
                f"Topic {topic.topic} has {len(there[topic.topic].partitions)} partitions, the catalogue says {topic.num_partitions}. "
                "Keys would move between partitions: make a new topic and copy, or (losing its records) delete it and start again."
            )
    absent = [topic for topic in wanted if topic.topic not in there]
    # `or {}`: an empty list is an error to librdkafka
    for created in (admin.create_topics(absent, operation_timeout=TIMEOUT_SECONDS) if absent else {}).values():
        try:
            created.result()
        except KafkaException as error:
            # another process was faster
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return [topic.topic for topic in absent]
