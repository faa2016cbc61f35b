"""How this process comes into Kafka by librdkafka, and what its tenant's topics and groups are called there."""

import time
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # documented there, exported implicitly

from schemas.catalog import in_kafka
from streams.settings import Settings, settings

MECHANISM: Final = "SCRAM-SHA-512"
# A refusal is told within a second; an answer that has not come by then may have been one.
LOOK_SECONDS: Final = 2


class Refused(Exception):
    """Kafka does not let this user in."""

    remedy: Final = "set HEADRACE_KAFKA_USER and HEADRACE_KAFKA_PASSWORD; headrace tenant add <name> --new-password makes a new one"

    def __init__(self, servers: str, user: str, reason: str) -> None:
        who = f"the user {user!r}" if user else "who does not say who it is (HEADRACE_KAFKA_USER is empty)"
        super().__init__(f"Kafka at {servers} refuses {who}: {reason}")


def named(name: str) -> str:
    """What a topic, changelog or group of the settings' tenant is called in Kafka."""
    return in_kafka(settings().tenant, name)


def quiet(servers: str, ours: Settings | None = None) -> dict[str, Any]:
    """Options of every client of librdkafka's for the Kafka at `servers` (host:port, comma-separated): as the settings say who we are.

    It writes no lines of its own, some a second while Kafka is away: errors are told by whoever asks, an absence by the watchdog.
    """
    ours = ours or settings()
    made: dict[str, Any] = {"bootstrap.servers": servers, "security.protocol": protocol(ours), "log_level": 0}
    if ours.kafka_user:
        secret = ours.kafka_password.get_secret_value()
        made |= {"sasl.mechanism": MECHANISM, "sasl.username": ours.kafka_user, "sasl.password": secret}
    if ours.kafka_ca:
        made["ssl.ca.location"] = ours.kafka_ca
    return made


def protocol(ours: Settings) -> str:
    """Kafka's name for how it is spoken to."""
    return ("SASL_" if ours.kafka_user else "") + ("SSL" if ours.kafka_ca else "PLAINTEXT")


class Asked:
    """A question to Kafka that says so where Kafka refuses who asks: librdkafka only tells it aside, and goes on trying."""

    def __init__(self, servers: str, ours: Settings | None = None) -> None:
        """Connect in the background."""
        self._ours = ours or settings()
        self._servers, self._refusal = servers, ""
        told: dict[str, Any] = {"error_cb": self._note}
        self.admin = AdminClient({**quiet(servers, ours), **told})

    def cluster(self, seconds: float) -> ClusterMetadata:
        """Brokers and the topics this user may see. Raises Refused, or KafkaException where Kafka does not answer in time."""
        give_up = time.monotonic() + seconds
        while True:
            try:
                return self.admin.list_topics(timeout=min(seconds, LOOK_SECONDS))
            except KafkaException:
                self.admin.poll(0)
                if self._refusal:
                    raise Refused(self._servers, self._ours.kafka_user, self._refusal) from None
                if time.monotonic() > give_up:
                    raise

    def _note(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):  # noqa: SLF001  # their public names
            self._refusal = error.str()
