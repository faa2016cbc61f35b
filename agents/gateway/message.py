"""A message of a device, the same for every protocol: what the gateway knows of it before it looks inside."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol


class Source(StrEnum):
    """The protocols devices speak."""

    MQTT = "mqtt"
    COAP = "coap"
    HTTP = "http"
    WEBSOCKET = "websocket"


class Message(Protocol):
    """What a device published. A protocol's own class may be one: the bulk MQTT client's is."""

    @property
    def topic(self) -> str:
        """An MQTT topic, or the path it was posted to, without a leading slash."""

    @property
    def payload(self) -> bytes:
        """As it came."""

    @property
    def qos(self) -> int:
        """0 to 2 of MQTT; 1 where a protocol confirms, 0 where it does not."""

    @property
    def content_type(self) -> str:
        """Empty where the device names none."""

    @property
    def headers(self) -> Mapping[str, str]:
        """User properties of MQTT 5, and what other protocols have in their place."""


class Post(NamedTuple):
    """A message that came alone."""

    topic: str
    payload: bytes
    qos: int = 1
    content_type: str = ""
    headers: Mapping[str, str] = {}


class Sender(NamedTuple):
    """Who a connection belongs to, as it proved; empty strings where it did not have to, as behind an MQTT broker, which saw to it."""

    tenant: str = ""
    device: str = ""


class Verdict(StrEnum):
    """What has become of a message. All but FULL are final: the device is to send it no more."""

    DELIVERED = "delivered"
    """Kafka has it."""
    SPOOLED = "spooled"
    """It lies safe on this gateway's disk and goes to Kafka when that is back."""
    DUPLICATE = "duplicate"
    """It came before."""
    COALESCED = "coalesced"
    """It tells that its device is there, or gone: that is noted, and the message not kept."""
    REJECTED = "rejected"
    """It can be no use to anybody, and is a dead letter."""
    FORBIDDEN = "forbidden"
    """The sender may not publish there."""
    FULL = "full"
    """It was not taken: Kafka is away and the tenant's share of the disk is full, or it sends more than it may. Send it again later."""
