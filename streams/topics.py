"""Topics of devices' messages that the mapping names and the catalogue does not: made when the first message of them comes."""

import logging
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.catalog import Contract, messages
from streams.access import quiet

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 5
HOUR_MS: Final = 3_600_000
MISSING: Final = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"}
"""What Kafka, or librdkafka for it, says of a topic that is not there."""
REFUSALS: Final = MISSING | {
    "MSG_SIZE_TOO_LARGE",
    "INVALID_MSG_SIZE",
    "INVALID_RECORD",
    "TOPIC_EXCEPTION",
    "TOPIC_AUTHORIZATION_FAILED",
    "INVALID_CONFIG",
    "INVALID_PARTITIONS",
    "POLICY_VIOLATION",
    "_UNKNOWN_PARTITION",
}
"""What Kafka says of a record, or of a topic, that it will never take. Any other error of a record is the producer's own end."""


def kept(contract: Contract) -> dict[str, str]:
    """Kafka's settings of a topic whose records are kept for a while."""
    return {"cleanup.policy": "delete", "retention.ms": str(contract.retention_hours * HOUR_MS)}


class Made(NamedTuple):
    """What became of topics that were to be made. Those in neither cannot be made now: Kafka, or one of its brokers, is away."""

    there: set[str]
    refused: dict[str, KafkaError]
    """Those that Kafka will not have, and why."""


def create_missing(servers: str, topics: Iterable[str]) -> Made:
    """Make topics of messages that are not there. Waits for Kafka for `TIMEOUT_SECONDS`, twice where it refuses."""
    admin = AdminClient(quiet(servers))
    made, failed = Made(set(), {}), dict[str, KafkaError]()
    wanted = [NewTopic(c.topic, c.partitions, -1, config=kept(c)) for c in map(messages, topics)]
    asked = admin.create_topics(wanted, operation_timeout=TIMEOUT_SECONDS, request_timeout=TIMEOUT_SECONDS) if wanted else {}
    for topic, created in asked.items():
        try:
            created.result()
            made.there.add(topic)
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                made.there.add(topic)
            else:
                failed[topic] = reason
    made.refused.update(_refused(admin, failed, made.there) if failed else {})
    for topic in failed.keys() - made.there - made.refused.keys():
        logger.warning("topic_not_made topic=%s error=%s (%s)", topic, failed[topic].str(), failed[topic].name())
    return made


def _refused(admin: AdminClient, failed: Mapping[str, KafkaError], there: set[str]) -> dict[str, KafkaError]:
    """Those that will never be made. Who may make none may write to one that somebody else made: those are `there`."""
    try:
        there |= failed.keys() & admin.list_topics(timeout=TIMEOUT_SECONDS).topics.keys()
    except KafkaException:
        return {}
    return {topic: reason for topic, reason in failed.items() if topic not in there and reason.name() in REFUSALS}
