"""Where a message goes: rows of MQTT patterns and Kafka topics, those of the code and those that operators apply while messages flow."""

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from paho.mqtt.matcher import MQTTMatcher
from pydantic import Field, field_validator, model_validator

from agents.devices.device_id import fault
from agents.gateway.layout import Layout
from agents.gateway.presence import SIGNALS
from agents.gateway.sparkplug.names import NAMESPACE, Speaker, escaped, speaker
from agents.gateway.times import ISO, UNITS
from agents.row_model import RowModel, Unfit
from schemas.bounds import TOPIC_CHARACTERS
from schemas.catalog import CHANGELOGS, CONTRACTS, ENVELOPE, PRESENCE
from schemas.codec import Codec
from schemas.protobuf_schema import message_type
from schemas.quoting import quoted

RAW: Final = "raw"
"""The data type of what could not be decoded."""
# Each is a file and some memory at every broker; names come from devices.
MOST_PREFIXES: Final = 50
_OTHERS: Final = "others"
_UNMAPPED: Final = "iot.raw.{1}"
_OWN_TOPICS: Final = frozenset({name for name, contract in CONTRACTS.items() if contract.schema != ENVELOPE} | CHANGELOGS.keys())
"""Those that are not for devices' messages."""
_PLACE: Final = re.compile(r"\{(\d+)\}")
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9._-]")
# Kafka takes 249; the rest is room for a tenant's name.
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,180}")
_TENANT: Final = re.compile(r"[a-zA-Z0-9._-]{1,60}")
_LITERAL_HEAD: Final = re.compile(r"[a-zA-Z0-9_-]+\.[^{]*\{")


class Priority(IntEnum):
    """How much a message matters: the spool gives CRITICAL ones out first. Numbers: requirement document, case 2."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


class Row(RowModel):
    """One row of the mapping, in a file and in the topic `mappings`. `{1}` stands for what the pattern's first wildcard matched."""

    pattern: str = Field(min_length=1, max_length=1000)
    """MQTT topic filter; of several that match, the one that says more of its first levels counts."""
    topic: str
    """Kafka topic; may have places."""
    data_type: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")
    device: str = "{1}"
    tenant: str = ""
    """Empty: the sender's, or the one that the device's name begins with."""
    priority: str = Field(default="NORMAL", pattern="^(LOW|NORMAL|HIGH|CRITICAL)$")
    qos: int = Field(default=1, ge=0, le=2)
    """What devices are to publish with at least; a message of less is taken, and counted."""
    layout: str = ""
    """Of a binary payload, see agents/gateway/layout.py; empty: the content type says what it is, JSON unless there is one."""
    record: str = ""
    """Avro schema of the payload's record, with a `field_number` for each field: what its Protobuf message is made of."""
    time: str = Field(default="", max_length=100)
    """Member of the payload that says when it was measured; empty: `timestamp`, in milliseconds."""
    time_unit: str = Field(default="ms", pattern=f"^({'|'.join([*UNITS, ISO])})$")
    """Of that member; `iso8601` is a text with a zone."""
    retired: bool = False

    @property
    def name(self) -> str:
        """What a row is known by."""
        return self.pattern

    @field_validator("pattern")
    @classmethod
    def _is_filter(cls, pattern: str) -> str:
        levels = pattern.split("/")
        if any(("+" in level or "#" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1] or "\0" in pattern:
            raise ValueError("+ and # stand for whole levels, and # for the last ones")
        return pattern

    @field_validator("layout")
    @classmethod
    def _is_layout(cls, layout: str) -> str:
        if layout:
            Layout(layout)
        return layout

    @field_validator("record")
    @classmethod
    def _is_record(cls, record: str) -> str:
        if record:
            codec = Codec(record)
            if codec.defect is not None:
                raise ValueError(codec.defect)
            message_type(codec)
        return record

    @model_validator(mode="after")
    def _fits(self) -> "Row":
        wildcards = sum(level in ("+", "#") for level in self.pattern.split("/"))
        for template in (self.topic, self.device, self.tenant):
            for place in _PLACE.findall(template):
                if not 1 <= int(place) <= wildcards:
                    raise ValueError(f"{template!r} has {{{place}}}, and the pattern {wildcards} wildcards")
        if wrong := fault(_PLACE.sub("x", self.device)):
            raise ValueError(f"device: {wrong}")
        if self.tenant and not _TENANT.fullmatch(_PLACE.sub("x", self.tenant)):
            raise ValueError(f"{quoted(self.tenant)} cannot be a tenant: letters, digits, '.', '_' and '-', at most 60")
        if not _TOPIC.fullmatch(_PLACE.sub("x", self.topic)):
            raise ValueError(f"{self.topic!r} cannot be the name of a Kafka topic: letters, digits, '.', '_' and '-', at most 180")
        if "{" in self.topic and not _LITERAL_HEAD.match(self.topic):
            raise ValueError(f"{self.topic!r} has a place before its first dot: any device could choose whose topic it writes to")
        reach = re.compile(_PLACE.sub(".*", re.escape(self.topic).replace(r"\{", "{").replace(r"\}", "}")))
        if self.data_type not in SIGNALS and (own := next((name for name in sorted(_OWN_TOPICS) if reach.fullmatch(name)), None)):
            raise ValueError(f"{self.topic!r} can be {own!r}, a topic of Headrace's own that is not for devices' messages")
        return self

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Row":
        """The row of a record of the topic. Raises pydantic's ValidationError."""
        return cls.model_validate({name: record[name] for name in cls.model_fields})


DEFAULT: Final = (
    # Requirement document, case 2 (ProtocolTransformer.TOPIC_MAPPING), and the city's other devices in its way.
    Row(pattern="sensors/+/temperature", topic="env.temperature.raw", data_type="environment"),
    Row(pattern="sensors/+/humidity", topic="env.humidity.raw", data_type="environment"),
    Row(pattern="sensors/+/air", topic="env.air.raw", data_type="environment"),
    Row(pattern="sensors/+/noise", topic="env.noise.raw", data_type="environment"),
    Row(pattern="lights/+/status", topic="lighting.status.raw", data_type="lighting"),
    Row(pattern="parking/+/occupancy", topic="parking.occupancy.raw", data_type="parking"),
    Row(pattern="manhole/+/alarm", topic="infrastructure.manhole.alert", data_type="manhole", priority="CRITICAL", qos=2),
    Row(pattern="traffic/+/flow", topic="traffic.flow.raw", data_type="traffic"),
    # What tells of a device alone, see agents/gateway/presence.py.
    Row(pattern="devices/+/heartbeat", topic=PRESENCE.topic, data_type="heartbeat"),
    Row(pattern="devices/+/presence", topic=PRESENCE.topic, data_type="presence"),
    # Sparkplug B: group, message type, edge node, device.
    Row(pattern=f"{NAMESPACE}/+/+/+", topic="iot.sparkplug.raw", data_type="sparkplug", device="{1}~{3}"),
    Row(pattern=f"{NAMESPACE}/+/+/+/+", topic="iot.sparkplug.raw", data_type="sparkplug", device="{1}~{3}~{4}"),
    # What hosts tell devices, where many devices' software has it; Sparkplug's needs no row.
    Row(pattern="zigbee2mqtt/+/set", topic=PRESENCE.topic, data_type="host-command"),
    Row(pattern="zigbee2mqtt/+/set/+", topic=PRESENCE.topic, data_type="host-command"),
    Row(pattern="zigbee2mqtt/+/get", topic=PRESENCE.topic, data_type="host-command"),
    Row(pattern="cmnd/+/#", topic=PRESENCE.topic, data_type="host-command"),
    Row(pattern="homie/+/+/+/set", topic=PRESENCE.topic, data_type="host-command"),
)


class Target(NamedTuple):
    """Where the messages of one MQTT topic go."""

    topic: str
    """Kafka topic, without the tenant's prefix."""
    template: str
    """What it was made of: the row's, which may have places."""
    device_id: str
    tenant: str
    """Empty: not for the mapping to say."""
    data_type: str
    priority: str
    layout: Layout | None
    record: Codec | None
    pattern: str
    """Of the row; empty: none matched."""
    qos: int
    speaker: Speaker | None
    """Who says it, where the MQTT topic says that the payload is Sparkplug B."""
    time: str = ""
    """Member that is to become `timestamp`, Unix milliseconds; empty: none is."""
    time_unit: str = "ms"

    @property
    def is_made(self) -> bool:
        """Whether the topic's name has parts that the device chose."""
        return "{" in self.template


class _Parsed(NamedTuple):
    """A row, and what is parsed of it, once for all topics it matches: a schema takes 13 KiB and 170 µs."""

    row: Row
    layout: Layout | None
    record: Codec | None

    @classmethod
    def of(cls, row: Row) -> "_Parsed":
        return cls(row, Layout(row.layout) if row.layout else None, Codec(row.record) if row.record else None)


class Routes:
    """The rows in force."""

    def __init__(self, rows: Iterable[Row] = DEFAULT, filled: dict[str, set[str]] | None = None) -> None:
        """Of two rows of one pattern the later counts. `filled`: what was filled into topics that have places, by rows before these."""
        self.rows = {row.pattern: row for row in rows}
        self._matcher = MQTTMatcher()  # type: ignore[no-untyped-call]
        for row in self.rows.values():
            if not row.retired:
                self._matcher[row.pattern] = _Parsed.of(row)
        self._filled = {} if filled is None else filled
        """By the row's topic."""

    def data_type(self, topic: str) -> str:
        """What the messages of a topic are by the row that matches; empty where none does."""
        rows = self._matching(topic)
        return rows[0].row.data_type if rows else ""

    def target(self, topic: str) -> Target:
        """Where a message published to `topic` goes, without a trace of the question. Raises Unfit if there is no place for it."""
        if not _is_text(topic):
            raise Unfit("topic", f"{quoted(topic)} is no text")
        if len(topic) > TOPIC_CHARACTERS:
            raise Unfit("topic", f"{quoted(topic)} is longer than {TOPIC_CHARACTERS} characters")
        try:
            said_by = speaker(topic)
        except ValueError as wrong:
            raise Unfit("topic", f"{quoted(topic)} is not {wrong}") from wrong
        rows = self._matching(topic)
        target = self._by_row(rows[0], topic, said_by) if rows else self._by_prefix(topic, said_by)
        if refused := fault(target.device_id):
            raise Unfit("device", f"{refused}; it is of the MQTT topic {quoted(topic)}")
        return target

    def _matching(self, topic: str) -> list[_Parsed]:
        """The rows that match, the one that counts first."""
        return sorted(self._matcher.iter_match(topic), key=_precision)  # type: ignore[no-untyped-call]

    def _by_row(self, parsed: _Parsed, topic: str, said_by: Speaker | None) -> Target:
        row, layout, record = parsed
        found = _wild(row.pattern.split("/"), topic.split("/"))
        # what Sparkplug calls devices may have any character, and is to be told apart from what is joined to it
        names = found if said_by is None else [*map(escaped, found)]
        return Target(
            topic=self._few(row.topic, [_ILLEGAL.sub("-", each) for each in found]),
            template=row.topic,
            device_id=_fill(row.device, names),
            tenant=_fill(row.tenant, found),
            data_type=row.data_type,
            priority=row.priority,
            layout=layout,
            record=record,
            pattern=row.pattern,
            qos=row.qos,
            speaker=said_by,
            time=row.time or ("timestamp" if row.time_unit != "ms" else ""),
            time_unit=row.time_unit,
        )

    def _by_prefix(self, topic: str, said_by: Speaker | None) -> Target:
        """Of what no row names: `iot.raw.<prefix>`, the prefix being what the device's name has before its first `_`."""
        levels = topic.split("/")
        device = said_by.id if said_by else levels[1] if len(levels) > 1 and levels[1] else levels[0]
        named = self._few(_UNMAPPED, [_ILLEGAL.sub("-", device.partition("_")[0])[:60]])
        return Target(named, _UNMAPPED, device, "", "unmapped", "NORMAL", None, None, "", 0, said_by)

    def _few(self, template: str, parts: list[str]) -> str:
        """A topic's name; one of `others` where so many were made of its template that devices would make it any number."""
        name = _fill(template, parts)
        made = self._filled.get(template, ())
        return _fill(template, [_OTHERS] * len(parts)) if len(made) >= MOST_PREFIXES and name not in made else name

    def keep(self, target: Target) -> None:
        """Count a topic's name among those made of its template: messages go there."""
        if target.is_made and len(made := self._filled.setdefault(target.template, set())) < MOST_PREFIXES:
            made.add(target.topic)


def _is_text(topic: str) -> bool:
    """Whether UTF-8 has it: what some protocols' libraries make of other bytes is no text."""
    try:
        topic.encode()
    except UnicodeEncodeError:
        return False
    return True


def _precision(parsed: _Parsed) -> list[int]:
    return [{"+": 1, "#": 2}.get(level, 0) for level in parsed.row.pattern.split("/")]


def _fill(template: str, parts: list[str]) -> str:
    return _PLACE.sub(lambda place: parts[int(place[1]) - 1], template)


def _wild(pattern: list[str], levels: list[str]) -> list[str]:
    """What each wildcard stands for."""
    return ["/".join(levels[at:]) if level == "#" else levels[at] for at, level in enumerate(pattern) if level in ("+", "#")]
