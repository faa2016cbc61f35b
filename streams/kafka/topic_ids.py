"""Which topics a name stood for: Kafka gives each topic an id when it is made, and one that is made anew has another (KIP-516)."""

from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.access import quiet

TIMEOUT_SECONDS: Final = 10
# What a broker older than topic ids answers.
_NONE: Final = (0, 0)


def topic_ids(servers: str, topics: Iterable[str]) -> dict[str, str]:
    """The id of each topic, as Kafka calls it, that is there and has one. Waits for Kafka; raises KafkaException."""
    admin = AdminClient(quiet(servers))  # held: without it its answers are those of a client that is gone
    asked = admin.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_SECONDS)
    found = {}
    for topic, answer in asked.items():
        try:
            identity = answer.result().topic_id
        except KafkaException as error:
            if error.args[0].name() in ("UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED"):
                continue
            raise
        if (identity.get_most_significant_bits(), identity.get_least_significant_bits()) != _NONE:
            found[topic] = str(identity)
    return found


def made_anew(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Topics that have another id than before; one of which either is not known counts as the same."""
    return [topic for topic, identity in before.items() if now.get(topic, identity) != identity]
