"""What devices are told over MQTT: commands, of which it becomes a row of `command-events` what came of them, and to send later."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import orjson
import polars as pl

from schemas.catalog import COMMAND_EVENTS

CITY: Final = "city"
"""The domain whose devices are reached over every protocol."""
DEVICES: Final = "devices"
"""First level of the MQTT topics that they are told by, and answer by."""
LONGEST_TOPIC: Final = 65_535
"""Bytes; MQTT 5, section 1.5.4."""
_COMMAND: Final = "command"
_SLOW_DOWN: Final = "slow-down"
"""Last levels of the topics."""
_FIELDS: Final = ("command_id", "command", "alert_id", "rule", "issued_at", "expires_at")


class Outcome(StrEnum):
    """What may become of a command, the least telling first: of several that are told of one command, the last of these is true."""

    QUEUED = "QUEUED"
    """It waits for its device, which is to come before it expires."""
    EXPIRED = "EXPIRED"
    """It could not be sent in time, and was not."""
    UNADDRESSED = "UNADDRESSED"
    """No MQTT topic is known for the machine."""
    REFUSED = "REFUSED"
    """The MQTT broker does not take it."""
    DISPATCHED = "DISPATCHED"
    """Sent: the MQTT broker has it, or the device's connection."""
    DELIVERED = "DELIVERED"
    """The device says that it has it, and is at it."""
    UNANSWERED = "UNANSWERED"
    """Timed out: the device did not say in time what came of it; should it do so later, that is told, too."""
    FAILED = "FAILED"
    """The device says it could not."""
    ACKNOWLEDGED = "ACKNOWLEDGED"
    """Succeeded: the device says it did."""

    @property
    def rank(self) -> int:
        """How telling it is; of the device's two answers the later counts."""
        return min(_ORDER.index(self), _ORDER.index(Outcome.FAILED))

    @property
    def is_final(self) -> bool:
        """Whether the command is sent no more; an answer may follow all the same."""
        return self in _FINAL


_ORDER: Final = tuple(Outcome)
_FINAL: Final = frozenset({Outcome.EXPIRED, Outcome.UNADDRESSED, Outcome.REFUSED, Outcome.FAILED, Outcome.ACKNOWLEDGED})


def topic_of(command: Mapping[str, Any]) -> str | None:
    """Where the device hears the command; None if its plant or name is empty or cannot be a level of an MQTT topic."""
    city = command["domain"] == CITY
    return _topic(*([DEVICES] if city else [command["domain"], command["plant"]]), command["device_id"], _COMMAND)


def slow_down_topic(device_id: str) -> str | None:
    """Where a device of the city hears that it is to send later; None if its name is empty or cannot be a level of an MQTT topic."""
    return _topic(DEVICES, device_id, _SLOW_DOWN)


def slow_down_payload(seconds: float) -> bytes:
    """What a device is sent then, over MQTT and WebSocket: for so long it had better send nothing more."""
    return orjson.dumps({"slow_down_seconds": seconds})


def payload_of(command: Mapping[str, Any]) -> bytes:
    """What the device is sent: JSON, times in milliseconds."""
    return orjson.dumps(told(command) if command["domain"] == CITY else {name: command[name] for name in _FIELDS})


def told(command: Mapping[str, Any]) -> dict[str, Any]:
    """What a device of the city is told, over whatever protocol."""
    return {name: command[name] for name in _FIELDS} | {"parameters": orjson.Fragment(command["parameters"])}


def is_own(topic: str) -> bool:
    """Whether a message is one of the gateway's own, which its subscription brings back."""
    match topic.split("/"):
        case [first, device, last] if last in (_COMMAND, _SLOW_DOWN):
            return first == DEVICES and device != ""
        case [*levels, last] if last == _COMMAND:
            return len(levels) == 3 and all(levels) and levels[0] != DEVICES
    return False


def _topic(*levels: str) -> str | None:
    topic = "/".join(levels)
    good = all(levels) and not any(set(level) & set("/+#\0") for level in levels) and len(topic.encode()) <= LONGEST_TOPIC
    return topic if good else None


def event(command: Mapping[str, Any], outcome: Outcome, detail: str, now_ms: int) -> pl.DataFrame:
    """One row of the audit."""
    return pl.DataFrame([event_row(command, outcome, detail, now_ms)], schema=COMMAND_EVENTS.codec.columns)


def event_row(command: Mapping[str, Any], outcome: Outcome, detail: str, now_ms: int) -> dict[str, Any]:
    """The same, as a mapping."""
    known = {name: command[name] for name in ("command_id", "tenant", "domain", "plant", "device_id")}
    return known | {"status": str(outcome), "detail": detail, "at": now_ms}
