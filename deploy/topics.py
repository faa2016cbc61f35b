"""Kafka topics from the catalogue: made before any worker starts, because a worker sees a later one only after minutes."""

from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.catalog import CONTRACTS

HOUR_MS: Final = 3_600_000
TIMEOUT_SECONDS: Final = 30


class TopicMismatchError(Exception):
    """A topic exists with another number of partitions."""


def ensure_topics(bootstrap: str) -> None:
    """Create the catalogue's topics that are not there; TopicMismatchError if one is there with other partitions."""
    wanted = [
        NewTopic(c.topic, c.partitions, -1, config={"cleanup.policy": "delete", "retention.ms": str(c.retention_hours * HOUR_MS)})
        for c in CONTRACTS.values()
    ]
    _ensure(bootstrap, wanted)


def ensure_changelogs(bootstrap: str, partitions: Mapping[str, int]) -> None:
    """Create compacted topics, name to partitions, as `ensure_topics` does.

    Nothing is compacted away within an hour: recovery may need a snapshot that was overwritten by a zombie's older one.
    """
    config = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(HOUR_MS)}
    _ensure(bootstrap, [NewTopic(name, count, -1, config=config) for name, count in partitions.items()])


def _ensure(bootstrap: str, wanted: list[NewTopic]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
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
