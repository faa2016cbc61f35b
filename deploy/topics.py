"""Kafka topics from the catalogue: made before any worker starts, because a worker sees a later one only after minutes."""

from typing import Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.cimpl import NewTopic

from schemas.catalog import CHANGELOGS, CONTRACTS, in_kafka
from streams.access import Asked
from streams.settings import Settings, settings
from streams.topics import kept

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


def names(tenant: str) -> dict[str, int]:
    """A tenant's topics and changelogs, as they are called in Kafka, and how many partitions they have."""
    wanted = {c.topic: c.partitions for c in CONTRACTS.values()} | {name: source.partitions for name, source in CHANGELOGS.items()}
    return {in_kafka(tenant, name): partitions for name, partitions in wanted.items()}


def ensure_topics(bootstrap: str, ours: Settings | None = None, tenant: str = "") -> list[str]:
    """Create the catalogue's topics and changelogs of the tenant, the settings' unless named, that are not there; return their names.

    Raises TopicMismatchError if one is there with other partitions, KafkaException or Refused if Kafka does not answer, or not us.
    """
    configs = {c.topic: COMPACTED if c.compacted else kept(c) for c in CONTRACTS.values()}
    configs |= dict.fromkeys(CHANGELOGS, COMPACTED)
    ours = ours or settings()
    partitions = names(tenant or ours.tenant)
    wanted = [NewTopic(*topic, -1, config=config) for topic, config in zip(partitions.items(), configs.values(), strict=True)]
    return _ensure(Asked(bootstrap, ours), wanted)


def _ensure(kafka: Asked, wanted: list[NewTopic]) -> list[str]:
    there = kafka.cluster(TIMEOUT_SECONDS).topics
    for topic in wanted:
        if topic.topic in there and len(there[topic.topic].partitions) != topic.num_partitions:
            raise TopicMismatchError(
                f"Topic {topic.topic} has {len(there[topic.topic].partitions)} partitions, the catalogue says {topic.num_partitions}. "
                "Keys would move between partitions: make a new topic and copy, or (losing its records) delete it and start again."
            )
    absent = [topic for topic in wanted if topic.topic not in there]
    # `or {}`: an empty list is an error to librdkafka
    for created in (kafka.admin.create_topics(absent, operation_timeout=TIMEOUT_SECONDS) if absent else {}).values():
        try:
            created.result()
        except KafkaException as error:
            # another process was faster
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return [topic.topic for topic in absent]
