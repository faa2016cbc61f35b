"""Every topic Headrace owns, one Contract a row: what crosses it, how it is keyed and kept, and where it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from schemas.codec import Codec

DAY_HOURS: Final = 24


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One topic: its name is also its schema file's (`schemas/avro/<topic>.avsc`) and its registry subject's (`<topic>-value`)."""

    topic: str
    key: str | None
    """Field whose UTF-8 bytes key the records; None where the key is the source record's own."""
    partitions: int
    retention_hours: int
    sink: str
    """ClickHouse table the warehouse stores the topic in."""
    compacted: bool = False
    """Whether the latest record of each key is kept for ever, and nothing else longer than needed."""
    changelogs: tuple[str, ...] = ()
    """Topics of the state that workers keep of it, `<app>-<table>-changelog`, each with as many partitions."""
    central: bool = False
    """Whether a plant's uplink carries it to the centre; everything else stays in the plant."""

    @property
    def subject(self) -> str:
        """The subject's name in the schema registry (its TopicNameStrategy)."""
        return f"{self.topic}-value"

    @property
    def codec(self) -> Codec:
        """The reader schema, parsed once."""
        return _codec(self.topic)


@cache
def _codec(topic: str) -> Codec:
    return Codec((files("schemas") / "avro" / f"{topic}.avsc").read_text())


# 4 partitions: two workers of two cores each, and a table's changelog has as many as its source.
READINGS: Final = Contract(
    topic="factory.readings",
    key="device_id",
    partitions=4,
    retention_hours=7 * DAY_HOURS,
    sink="readings",
    changelogs=("factory-readings-1m-changelog",),
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

CONTRACTS: Final[Mapping[str, Contract]] = {row.topic: row for row in [*vars().values()] if isinstance(row, Contract)}
"""Every row above, by topic."""

CHANGELOGS: Final[Mapping[str, Contract]] = {changelog: source for source in CONTRACTS.values() for changelog in source.changelogs}
"""The workers' changelog topics, each with the contract of its source."""
