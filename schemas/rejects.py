"""Why a record could not be used: a closed set of reasons, and the record as it came."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every reason a record can be rejected for; what an operator should look at follows each."""

    TOMBSTONE = "tombstone"
    """No value at all: a producer treats the topic as compacted."""
    BAD_MAGIC = "bad-magic"
    """Too short for, or not starting with, the Confluent frame: a producer that skips the registry."""
    UNKNOWN_SCHEMA = "unknown-schema"
    """The registry answered that it has no such schema id: a producer of another registry, or garbage."""
    INCOMPATIBLE_SCHEMA = "incompatible-schema"
    """The writer's schema lacks a field without default, or has another type for it: registered past the compatibility check."""
    UNMAPPED_TOPIC = "unmapped-topic"
    """A device publishes to an MQTT topic that maps to no Kafka topic: its configuration, or the gateway's mapping."""
    UNKNOWN_DEVICE = "unknown-device"
    """Nobody registered the device, or it is retired, and HEADRACE_UNKNOWN_DEVICES lets such not in."""
    UNKNOWN_FORMAT = "unknown-format"
    """A device names a content type that the gateway does not read."""
    WRONG_TOPIC = "wrong-topic"
    """A device publishes as another one, or as another sensor, than its MQTT topic says."""
    TOO_LARGE = "too-large"
    """Larger than a Kafka record may be; the dead letter holds its beginning."""
    UNDECODABLE = "undecodable"
    """The body is truncated or garbage under its own schema."""
    UNTOLD_METRIC = "untold-metric"
    """A Sparkplug node sends data whose name or data type only a birth tells that was not heard: it is asked for another one."""
    NULL_FIELD = "null-field"
    """Null where a value is needed."""
    WRONG_KEY = "wrong-key"
    """The Kafka key is not the record's own: it may lie in another device's partition."""
    BAD_DEVICE_ID = "bad-device-id"
    """Not what a device may be called; `detail` has the rule. At the gate: its MQTT topic, or the mapping's row for it."""
    UNKNOWN_SENSOR = "unknown-sensor"
    """No limits are known for the sensor type."""
    NOT_FINITE = "not-finite"
    """NaN or an infinity."""
    OUT_OF_RANGE = "out-of-range"
    """Outside what the sensor can measure."""
    BAD_TIMESTAMP = "bad-timestamp"
    """Before the year 2000 (zero, or seconds taken for milliseconds) or ahead of the broker's clock."""
    CRASHED = "crashed"
    """This program raised an exception on the record: a fault of ours; `detail` has its name, the log where it was."""
    RULE_CRASHED = "rule-crashed"
    """A rule raised an exception on the batch; see the log."""
    KAFKA_REFUSED = "kafka-refused"
    """Kafka does not take the message: its topic is gone, or closed to the gateway; `detail` has its words."""
    SINK_REFUSED = "sink-refused"
    """ClickHouse does not take the row, such as a time beyond its range; `detail` has its words."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One unusable record of a batch: `row` is its position in the batch, `detail` says what was found."""

    row: int
    reason: Reason
    detail: str
