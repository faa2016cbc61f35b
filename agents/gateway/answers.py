"""What devices answer to commands, JSON: rows of `command-events`, or a reject each."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from agents.devices.device_id import fault
from agents.gateway.commands import CITY, DEVICES, Outcome
from agents.gateway.readings import Message
from schemas import json_text
from schemas.bounds import ANSWER_LETTERS, DETAIL_LETTERS, PAYLOAD_BYTES
from schemas.catalog import COMMAND_EVENTS
from schemas.quoting import brief
from schemas.rejects import Reason, Reject

ANSWERS: Final = "factory/+/+/command/ack"
"""MQTT topic filter of all machines' answers, which somebody waits for; those of the city's devices are followed in Kafka."""
_PROBLEMS: Final = {"missing": Reason.NULL_FIELD}


_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Answer(BaseModel):
    """What a device says about a command: that it has it (`delivered`), and later, or at once, what came of it (`ok`)."""

    model_config = ConfigDict(strict=True)

    command_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    ok: bool | None = None
    delivered: bool = False
    detail: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.ok is None and not self.delivered:
            raise PydanticCustomError("missing", "an answer says ok, or delivered")
        return self

    @property
    def outcome(self) -> Outcome:
        """What it makes of the command."""
        if self.ok is None:
            return Outcome.DELIVERED
        return Outcome.ACKNOWLEDGED if self.ok else Outcome.FAILED


def is_answer(topic: str) -> bool:
    """Whether a message is a device's answer."""
    return _sender(topic) is not None


def answering(topic: str) -> str | None:
    """The device of the city whose answer a message is; None if it is none."""
    sender = _sender(topic)
    return sender[2] if sender and sender[0] == CITY else None


def _sender(topic: str) -> tuple[str, str, str] | None:
    """Domain, plant and device of a topic of answers."""
    match topic.split("/"):
        case [first, device, "command", "ack"] if first == DEVICES and device:
            return CITY, "", device
        case [domain, plant, device, "command", "ack"] if domain and plant and device:
            return domain, plant, device
    return None


def answered(payload: bytes) -> str | None:
    """The command that an answer says the end of; None if it does not."""
    try:
        answer = _read(payload)
    except ValueError:
        return None
    return None if answer.ok is None else answer.command_id


def _read(payload: bytes) -> Answer:
    """Raises ValueError for what is no JSON, and as one pydantic's ValidationError for what is no answer."""
    return Answer.model_validate(json_text.loads(payload))


def map_answers(
    messages: Sequence[Message], tenant: str, now_ms: int, tenants: Mapping[str, str] = _NONE
) -> tuple[pl.DataFrame, list[Reject]]:
    """Read answers by MQTT; total: every one is a row of the audit or a reject. `tenants`: of the city's devices that are another's."""
    rows, rejects = [], []
    for position, message in enumerate(messages):
        domain, plant, device_id = _sender(message.topic) or ("", "", "")
        if wrong := fault(device_id):
            rejects.append(Reject(position, Reason.BAD_DEVICE_ID, wrong))
            continue
        if len(message.payload) > PAYLOAD_BYTES:
            rejects.append(Reject(position, Reason.TOO_LARGE, f"{len(message.payload)} bytes, at most {PAYLOAD_BYTES} are read"))
            continue
        try:
            answer = _read(message.payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"])) or "answer"
            reason = _PROBLEMS.get(first["type"], Reason.INCOMPATIBLE_SCHEMA)
            rejects.append(Reject(position, reason, brief(f"{field}: {first['msg']}", DETAIL_LETTERS)))
            continue
        except ValueError as error:
            rejects.append(Reject(position, Reason.UNDECODABLE, brief(f"answer: {error}", DETAIL_LETTERS)))
            continue
        whose = tenants.get(device_id, tenant) if domain == CITY else tenant
        rows.append((answer.command_id, whose, domain, plant, device_id, str(answer.outcome), brief(answer.detail, ANSWER_LETTERS), now_ms))
    return pl.DataFrame(rows, schema=COMMAND_EVENTS.codec.columns, orient="row"), rejects
