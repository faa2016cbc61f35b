"""What machines answer to commands, JSON over MQTT: rows of `command-events`, or a reject each."""

from collections.abc import Sequence
from typing import Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.gateway.commands import Outcome
from agents.gateway.readings import MAX_DETAIL, MAX_PAYLOAD_BYTES, Message
from schemas.catalog import COMMAND_EVENTS
from schemas.rejects import Reason, Reject

ANSWERS: Final = "factory/+/+/command/ack"
"""MQTT topic filter of all machines' answers."""
_PROBLEMS: Final = {"json_invalid": Reason.UNDECODABLE, "missing": Reason.NULL_FIELD}


class Answer(BaseModel):
    """What a machine says about a command."""

    model_config = ConfigDict(strict=True)

    command_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    ok: bool
    detail: str = ""


def is_answer(topic: str) -> bool:
    """Whether a message is a machine's answer."""
    levels = topic.split("/")
    return len(levels) == 5 and levels[3:] == ["command", "ack"] and all(levels)


def answered(payload: bytes) -> str | None:
    """The command that an answer is to; None if it is none."""
    try:
        return Answer.model_validate_json(payload).command_id
    except ValidationError:
        return None


def map_answers(messages: Sequence[Message], tenant: str, now_ms: int) -> tuple[pl.DataFrame, list[Reject]]:
    """Read answers; total: every one is a row of the audit or a reject."""
    rows, rejects = [], []
    for position, message in enumerate(messages):
        if len(message.payload) > MAX_PAYLOAD_BYTES:
            rejects.append(Reject(position, Reason.TOO_LARGE, f"{len(message.payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read"))
            continue
        try:
            answer = Answer.model_validate_json(message.payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "answer"
            reason = _PROBLEMS.get(first["type"], Reason.INCOMPATIBLE_SCHEMA)
            rejects.append(Reject(position, reason, f"{field}: {first['msg']}"[:MAX_DETAIL]))
            continue
        domain, plant, device_id, *_ = message.topic.split("/")
        outcome = Outcome.ACKNOWLEDGED if answer.ok else Outcome.FAILED
        rows.append((answer.command_id, tenant, domain, plant, device_id, str(outcome), answer.detail[:MAX_DETAIL], now_ms))
    return pl.DataFrame(rows, schema=COMMAND_EVENTS.codec.columns, orient="row"), rejects
