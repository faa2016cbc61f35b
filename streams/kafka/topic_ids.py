"""Which topics a name stood for: Kafka gives each topic an id when it is made, and one that is made anew has another (KIP-516)."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from streams.access import quiet

TIMEOUT_SECONDS: Final = 10
# What a broker older than topic ids answers.
_NONE: Final = (0, 0)


class Change(StrEnum):
    """What became of a topic."""

    GONE = "gone"
    MADE_ANEW = "made anew"


def topic_ids(servers: str, topics: Iterable[str]) -> dict[str, str | None]:
    """The id of each topic, as Kafka calls it; empty where it is not told, None where there is no such topic.

    Waits for Kafka; raises KafkaException.
    """
    admin = AdminClient(quiet(servers))  # held: without it its answers are those of a client that is gone
    asked = admin.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT_SECONDS)
    found: dict[str, str | None] = {}
    for topic, answer in asked.items():
        try:
            identity = answer.result().topic_id
        except KafkaException as error:
            if error.args[0].name() not in ("UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED"):
                raise
            found[topic] = None if error.args[0].name() == "UNKNOWN_TOPIC_OR_PART" else ""
        else:
            bits = identity.get_most_significant_bits(), identity.get_least_significant_bits()
            found[topic] = str(identity) if bits != _NONE else ""
    return found


def changes(before: Mapping[str, str], now: Mapping[str, str | None]) -> dict[str, Change]:
    """Topics of `before` that are not there now, or have another id; one whose id either does not know counts as the same."""
    gone = {topic: Change.GONE for topic in before if now.get(topic, "") is None}
    return gone | {topic: Change.MADE_ANEW for topic, identity in before.items() if identity and (now.get(topic) or identity) != identity}
