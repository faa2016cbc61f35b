"""What people tell devices to do, over HTTP: one request for one device or for many, and what has become of each."""

import asyncio
from collections import Counter
from hashlib import blake2b
from typing import Any, Final, Self
from uuid import uuid4

import orjson
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agents.devices.device_id import DeviceId
from agents.gateway.commands import CITY
from agents.gateway.groups import Selection
from schemas.catalog import COMMANDS
from streams.api import Conflict, Question, Unknown
from streams.clock import now_ms
from streams.groups import Groups
from streams.peers import NoAnswer
from streams.reaching import LONGEST_LIFETIME_MS, Reaching
from streams.settings import settings

MOST_DEVICES: Final = 10_000
"""Of one request."""
MOST_PARAMETERS: Final = 8_192
"""Bytes of JSON: a device that listens over CoAP gets it in one datagram."""
KAFKA_SECONDS: Final = 10


class Request(BaseModel):
    """Something that devices are to do."""

    model_config = ConfigDict(extra="forbid")

    command: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$", description="What to do, a word the devices know, e.g. switch-on.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="How: a JSON object of at most 8 KB.")
    device: DeviceId | None = Field(default=None, description="The device's id.")
    device_ids: list[DeviceId] = Field(default_factory=list, max_length=MOST_DEVICES, description="The ids of several.")
    group: Selection | None = Field(default=None, description="Those of groups: name, data_type, district, and a pattern of their ids.")
    expires_seconds: float = Field(default=300, gt=0, le=LONGEST_LIFETIME_MS / 1000, description="How long it waits for devices to come.")
    tenant: str = Field(default="", max_length=60, description="Whose devices these are; empty: HEADRACE_TENANT's.")
    by: str = Field(default="", max_length=200, description="Who asks.")
    request_id: str = Field(
        default_factory=lambda: uuid4().hex, pattern="^[0-9a-f]{32}$", description="Made up unless said; the same one again asks once."
    )

    @field_validator("parameters")
    @classmethod
    def _is_short(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        if (size := len(orjson.dumps(parameters))) > MOST_PARAMETERS:
            raise ValueError(f"{size} bytes, at most {MOST_PARAMETERS} are sent")
        return parameters

    @model_validator(mode="after")
    def _is_for_somebody(self) -> Self:
        if not (self.device or self.device_ids or self.group):
            raise ValueError("say whom: device, device_ids or group")
        return self


class Asked(BaseModel):
    """A request of before."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(max_length=200, description="As the request was answered.")
    tenant: str = Field(default="", max_length=60, description="Whose devices it was for; empty: whosever.")
    limit: int = Field(default=1_000, ge=1, le=MOST_DEVICES, description="At most so many devices; `next` is where the rest begins.")
    offset: int = Field(default=0, ge=0, description="How many to leave out: `next` of the answer before.")


def questions(reaching: Reaching, groups: Groups) -> list[Question]:
    """What a gateway can be asked, and told."""

    async def ask(asked: Request) -> dict[str, Any]:
        tenant = asked.tenant or settings().tenant
        named = [asked.device] if asked.device else []
        members = groups.devices(tenant, asked.group) if asked.group else []
        devices = [*dict.fromkeys([*named, *asked.device_ids, *members])]
        if not devices:
            raise Unknown(f"no device of {tenant} is in such a group")
        if len(devices) > MOST_DEVICES:
            raise Conflict(f"{len(devices)} devices, at most {MOST_DEVICES} are told at once")
        rows = _rows(asked, tenant, devices)
        try:
            async with asyncio.timeout(KAFKA_SECONDS):
                await reaching.app.send_frame(COMMANDS, pl.DataFrame(rows, schema=COMMANDS.codec.columns))
                await reaching.app.bulk.flush()
        except TimeoutError as late:
            raise NoAnswer(f"Kafka does not take the commands of request {asked.request_id}") from late
        reaching.know(rows)
        return {"request_id": asked.request_id, "devices": len(rows), "expires_at": rows[0]["expires_at"]}

    def answer(asked: Asked) -> dict[str, Any]:
        found = reaching.standing.of_request(asked.request_id)
        orders = sorted((order for order in found if asked.tenant in ("", order.command["tenant"])), key=lambda order: order.key)
        if not orders:
            raise Unknown(f"no request {asked.request_id}: it is unknown, or expired more than a day ago")
        page = [
            {
                "device_id": order.command["device_id"],
                "command_id": order.id,
                "status": order.status,
                "detail": order.detail,
                "at": order.at,
            }
            for order in orders[asked.offset : asked.offset + asked.limit]
        ]
        first = orders[0].command
        about = {name: first[name] for name in ("tenant", "command", "issued_at", "expires_at", "asked_by")}
        end = asked.offset + len(page)
        counts = Counter(str(order.status) for order in orders)
        about |= {"request_id": asked.request_id, "parameters": orjson.Fragment(first["parameters"])}
        return about | {"counts": counts, "commands": page, "next": end if end < len(orders) else None}

    path = "/api/commands"
    return [
        Question(path, Asked, "What has become of a request: how many commands stand where, and each.", answer, tenant="tenant"),
        Question(path, Request, "Devices are to do something.", ask, method="POST", tenant="tenant"),
    ]


def _rows(asked: Request, tenant: str, devices: list[str]) -> list[dict[str, Any]]:
    """Records of `commands`."""
    at = now_ms()
    every = {"tenant": tenant, "domain": CITY, "plant": "", "command": asked.command, "alert_id": "", "rule": "", "issued_at": at}
    every |= {"expires_at": at + int(asked.expires_seconds * 1000), "parameters": orjson.dumps(asked.parameters).decode()}
    every |= {"request_id": asked.request_id, "asked_by": asked.by}
    return [every | {"device_id": device, "command_id": _command_id(asked.request_id, tenant, device)} for device in devices]


def _command_id(request_id: str, tenant: str, device: str) -> str:
    return blake2b("\x1f".join((request_id, tenant, device)).encode(), digest_size=16).hexdigest()
