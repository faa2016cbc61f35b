"""Commands over MQTT: where a machine is told what, and what became of it, a row of `command-events`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import orjson
import polars as pl

from schemas.catalog import COMMAND_EVENTS

LONGEST_TOPIC: Final = 65_535
"""Bytes; MQTT 5, section 1.5.4."""
_FIELDS: Final = ("command_id", "command", "alert_id", "rule", "issued_at", "expires_at")


class Outcome(StrEnum):
    """What may become of a command."""

    DISPATCHED = "DISPATCHED"
    """The MQTT broker has it."""
    EXPIRED = "EXPIRED"
    """It could not be sent in time, and was not."""
    UNADDRESSED = "UNADDRESSED"
    """No MQTT topic is known for the machine."""
    REFUSED = "REFUSED"
    """The MQTT broker does not take it."""
    ACKNOWLEDGED = "ACKNOWLEDGED"
    """The machine says it did."""
    FAILED = "FAILED"
    """The machine says it could not."""
    UNANSWERED = "UNANSWERED"
    """The machine said nothing in time; should it do so later, that is told, too."""


def topic_of(command: Mapping[str, Any]) -> str | None:
    """Where the machine hears the command; None if its plant or name is empty or cannot be a level of an MQTT topic."""
    levels = [command["domain"], command["plant"], command["device_id"]]
    topic = "/".join([*levels, "command"])
    good = all(levels) and not any(set(level) & set("/+#\0") for level in levels) and len(topic.encode()) <= LONGEST_TOPIC
    return topic if good else None


def payload_of(command: Mapping[str, Any]) -> bytes:
    """What the machine is sent: JSON, times in milliseconds."""
    return orjson.dumps({name: command[name] for name in _FIELDS})


def is_command(topic: str) -> bool:
    """Whether a message is one of the gateway's own, which its subscription brings back."""
    levels = topic.split("/")
    return len(levels) == 4 and levels[3] == "command" and all(levels)


def event(command: Mapping[str, Any], outcome: Outcome, detail: str, now_ms: int) -> pl.DataFrame:
    """One row of the audit."""
    known = {name: command[name] for name in ("command_id", "tenant", "domain", "plant", "device_id")}
    row = known | {"status": str(outcome), "detail": detail, "at": now_ms}
    return pl.DataFrame([row], schema=COMMAND_EVENTS.codec.columns)
