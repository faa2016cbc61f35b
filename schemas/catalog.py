"""Every topic Headrace owns, one Contract a row: what crosses it, how it is keyed and kept, and where it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from schemas.codec import Codec

DAY_HOURS: Final = 24
ENVELOPE: Final = "iot.envelope"
DEFAULT_TENANT: Final = "default"


def in_kafka(tenant: str, name: str) -> str:
    """What a topic, changelog or group of a tenant is called in Kafka: its name comes first, but for that of the default tenant."""
    return name if tenant == DEFAULT_TENANT else f"{tenant}.{name}"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One topic: its name is also its registry subject's (`<topic>-value`) and, unless it shares one, its schema file's."""

    topic: str
    """Without the name of the tenant, which it has before it in Kafka (`in_kafka`)."""
    key: str | None
    """Field whose UTF-8 bytes key the records; None where the key is the source record's own."""
    partitions: int
    retention_hours: int
    sink: str = ""
    """ClickHouse table the warehouse stores the topic in; empty: none, as nobody is to ask for what is in it."""
    schema: str = ""
    """Schema file, `schemas/avro/<schema>.avsc`, where it is not named after the topic."""
    compacted: bool = False
    """Whether the latest record of each key is kept for ever, and nothing else longer than needed."""
    changelogs: tuple[str, ...] = ()
    """Topics of the state that workers keep of it, `<app>-<table>-changelog`, each with as many partitions."""
    gathered_ms: int = 0
    """How long its records are gathered for while few come, as a pass costs milliseconds whatever it holds; 0: what is in it is urgent."""
    central: bool = False
    """Whether a plant's uplink carries it to the centre; everything else stays in the plant."""

    @property
    def subject(self) -> str:
        """The subject's name in the schema registry (its TopicNameStrategy)."""
        return f"{self.topic}-value"

    @property
    def codec(self) -> Codec:
        """The reader schema, parsed once."""
        return _codec(self.schema or self.topic)


@cache
def _codec(schema: str) -> Codec:
    return Codec((files("schemas") / "avro" / f"{schema}.avsc").read_text(encoding="utf-8"))


def messages(topic: str, gathered_ms: int = 120) -> Contract:
    """A topic of devices' messages as the gateway took them, in the standard envelope."""
    return Contract(
        topic=topic,
        key="device_id",
        partitions=4,
        retention_hours=7 * DAY_HOURS,
        sink="messages",
        schema=ENVELOPE,
        gathered_ms=gathered_ms,
    )


# 4 partitions: two workers of two cores each, and a table's changelog has as many as its source.
READINGS: Final = Contract(
    topic="factory.readings",
    key="device_id",
    partitions=4,
    retention_hours=7 * DAY_HOURS,
    sink="readings",
    changelogs=("factory-readings-1m-changelog",),
    gathered_ms=50,
)
WINDOWS: Final = Contract(
    topic="factory.windows", key="device_id", partitions=4, retention_hours=7 * DAY_HOURS, sink="windows", central=True
)
ALERTS: Final = Contract(topic="alerts", key="device_id", partitions=4, retention_hours=30 * DAY_HOURS, sink="alerts", central=True)
ALERT_ACTIONS: Final = Contract(topic="alert-actions", key="device_id", partitions=4, retention_hours=30 * DAY_HOURS, sink="alert_actions")
LATE: Final = Contract(topic="late", key="device_id", partitions=4, retention_hours=7 * DAY_HOURS, sink="late_records")
DEAD_LETTERS: Final = Contract(topic="dead-letters", key=None, partitions=4, retention_hours=30 * DAY_HOURS, sink="dead_letters")
COMMANDS: Final = Contract(topic="commands", key="device_id", partitions=4, retention_hours=30 * DAY_HOURS, sink="commands")
COMMAND_EVENTS: Final = Contract(
    topic="command-events", key="device_id", partitions=4, retention_hours=30 * DAY_HOURS, sink="command_events"
)
# 1 partition: rules are few, and every worker reads them all in the order they were applied in.
RULES: Final = Contract(topic="rules", key="rule_id", partitions=1, retention_hours=0, sink="rules", compacted=True)

# Not compacted: what was taken under earlier limits is judged by those, however late it is read. They are as few as rules.
SENSORS: Final = Contract(topic="sensors", key="sensor_id", partitions=1, retention_hours=100 * 365 * DAY_HOURS, sink="sensors")
# 1 partition, as of rules: every gateway reads all rows.
MAPPINGS: Final = Contract(topic="mappings", key="mapping_id", partitions=1, retention_hours=0, sink="mappings", compacted=True)

# 1 partition, as with rules: every gateway reads them all.
CREDENTIALS: Final = Contract(topic="credentials", key="credential_id", partitions=1, retention_hours=0, compacted=True)
# 1 partition, as with rules: every gateway reads them all.
DEVICE_GROUPS: Final = Contract(topic="device-groups", key="group_id", partitions=1, retention_hours=0, compacted=True)

# 1 partition, as every gateway reads them all: a hundred thousand devices that report once a minute are 1,700 small records a second.
DEVICES: Final = Contract(topic="devices", key="device_key", partitions=1, retention_hours=0, sink="devices", compacted=True)
PRESENCE: Final = Contract(topic="device-presence", key="device_key", partitions=1, retention_hours=0, compacted=True)
# 1 partition: every gateway reads them all, and a node's birth is the end of the births of its devices before it.
SPARKPLUG_BIRTHS: Final = Contract(topic="sparkplug-births", key="birth_key", partitions=1, retention_hours=0, compacted=True)

TEMPERATURE: Final = messages("env.temperature.raw")
HUMIDITY: Final = messages("env.humidity.raw")
AIR: Final = messages("env.air.raw")
NOISE: Final = messages("env.noise.raw")
LIGHTS: Final = messages("lighting.status.raw")
PARKING: Final = messages("parking.occupancy.raw")
MANHOLES: Final = messages("infrastructure.manhole.alert", gathered_ms=0)
TRAFFIC: Final = messages("traffic.flow.raw")
SPARKPLUG: Final = messages("iot.sparkplug.raw")
# Not stored: what nobody vouches for is not to be among what is asked for.
QUARANTINE: Final = Contract(topic="iot.quarantine", key="device_id", partitions=4, retention_hours=30 * DAY_HOURS, schema=ENVELOPE)
# Where operators map device types of their own: those are refined and stored, too, without a topic more.
OTHERS: Final = messages("iot.devices.raw")

# As many partitions as the topics of messages: what a device sent stays in the partition of its number. What one pass over messages makes
# comes together; manholes are in it, so it is gathered no longer than that takes.
CITY_READINGS: Final = Contract(
    topic="city.readings",
    key="device_id",
    partitions=4,
    retention_hours=7 * DAY_HOURS,
    sink="city_readings",
    changelogs=("city-city-1m-changelog",),
    gathered_ms=40,
)
DISTRICTS: Final = Contract(
    topic="city.districts",
    key="device_id",
    partitions=4,
    retention_hours=7 * DAY_HOURS,
    changelogs=("city-districts-1h-changelog",),
    gathered_ms=500,  # of hours
)
CITY_WINDOWS: Final = Contract(topic="city.windows", key="device_id", partitions=4, retention_hours=7 * DAY_HOURS, sink="city_windows")
DISTRICT_WINDOWS: Final = Contract(
    topic="city.district-windows",
    key="device_id",
    partitions=4,
    retention_hours=7 * DAY_HOURS,
    sink="district_windows",
    schema="city.windows",
)

CONTRACTS: Final[Mapping[str, Contract]] = {row.topic: row for row in [*vars().values()] if isinstance(row, Contract)}
"""Every row above, by topic."""

STORED: Final = tuple(contract for contract in CONTRACTS.values() if contract.sink)
"""Those that the warehouse stores."""
MESSAGES: Final = tuple(row for row in STORED if row.schema == ENVELOPE)
"""Those of the messages of devices that somebody vouches for."""

CHANGELOGS: Final[Mapping[str, Contract]] = {changelog: source for source in CONTRACTS.values() for changelog in source.changelogs}
"""The workers' changelog topics, each with the contract of its source."""
