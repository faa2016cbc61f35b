"""What the gateway is asked about its devices, and told: which there are and how they are, a new one, one out of service."""

import asyncio
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.devices.device_id import DeviceId
from agents.gateway.message import Source
from agents.gateway.place import Place
from agents.gateway.presence import Status
from agents.gateway.register import registration, row, select
from agents.gateway.registration import Registration
from schemas.catalog import DEVICES
from streams.api import Conflict, Question, Unknown
from streams.assembly import App
from streams.clock import now_ms
from streams.fleet import Reporting
from streams.listeners import listening
from streams.operators import device_record
from streams.peers import NoAnswer
from streams.subscription import Session

MOST_ROWS: Final = 10_000
KAFKA_SECONDS: Final = 10


class Asked(BaseModel):
    """Which devices, by tenant and name."""

    model_config = ConfigDict(extra="forbid")

    tenant: str | None = Field(default=None, max_length=60, description="Whose; all tenants' without it.")
    type: str | None = Field(default=None, max_length=61, description="E.g. street_light.")
    status: Status | None = Field(default=None, description="How they are now.")
    district: str | None = Field(default=None, max_length=200, description="Where they are.")
    text: str = Field(default="", max_length=200, description="In any of their fields, whatever the case.")
    retired: bool = Field(default=False, description="Those out of service, too.")
    limit: int = Field(default=100, ge=1, le=MOST_ROWS, description="At most so many; `next` is where the rest begins.")
    offset: int = Field(default=0, ge=0, description="How many to leave out: `next` of the answer before.")


class One(BaseModel):
    """A device."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: str = Field(max_length=60, description="Whose it is.")
    device_id: DeviceId = Field(description="What it is called.")


class Retired(One):
    """A device to be taken out of service."""

    by: str = Field(default="web", min_length=1, max_length=200, description="Who you are.")


class New(Registration):
    """A device, in the place of what was registered of it before."""

    registered_at: Literal[0] = 0
    retired: Literal[False] = False
    by: str = Field(default="web", min_length=1, max_length=200, description="Who you are.")


class Page:
    """Answers from one gateway."""

    def __init__(self, reporting: Reporting) -> None:
        self.reporting, self.fleet = reporting, reporting.fleet

    def devices(self, asked: Asked) -> dict[str, Any]:
        """A page of devices."""
        wanted = {"tenant_id": asked.tenant, "device_type": asked.type, "status": asked.status, "district": asked.district}
        found = [*select(self.fleet, now_ms(), text=asked.text, retired=asked.retired, **wanted)]
        end = asked.offset + asked.limit
        return {"devices": found[asked.offset : end], "count": len(found), "next": end if end < len(found) else None}

    def device(self, asked: One) -> dict[str, Any]:
        """One device."""
        found = self.fleet.devices.get((asked.tenant_id, asked.device_id))
        if found is None:
            raise Unknown(f"{asked.tenant_id} has no device {asked.device_id!r}")
        return row(self.fleet, found, now_ms())

    async def register(self, asked: New) -> dict[str, Any]:
        """Register a device, or change what is registered of it."""
        fields = asked.model_dump(exclude={"by"})
        before = self.fleet.devices.get((asked.tenant_id, asked.device_id))
        fields["registered_at"] = (registration(before).registered_at if before else 0) or now_ms()
        return await self._apply(Registration.model_validate(fields), asked.by)

    async def retire(self, asked: Retired) -> dict[str, Any]:
        """Take a device out of service."""
        self.device(asked)
        there = registration(self.fleet.devices[asked.tenant_id, asked.device_id])
        if there.retired:
            raise Conflict(f"{there.key} is retired already")
        return await self._apply(there.model_copy(update={"retired": True}), asked.by)

    async def _apply(self, device: Registration, by: str) -> dict[str, Any]:
        """Return when Kafka has it and this gateway goes by it."""
        where = "Kafka does not take it"
        try:
            async with asyncio.timeout(KAFKA_SECONDS):
                await self.reporting.send(DEVICES, [device_record(device, by)])
                await self.reporting.app.bulk.flush()
                where = f"Kafka has it, and this gateway has not read it back within {KAFKA_SECONDS} s"
                while (there := self.fleet.devices.get((device.tenant_id, device.device_id))) is None or there.registration != device:
                    await self.reporting.news.wait()
        except TimeoutError as late:
            raise NoAnswer(where) from late
        return row(self.fleet, there, now_ms())


def questions(reporting: Reporting) -> list[Question]:
    """What a gateway can be asked about its devices."""
    page = Page(reporting)
    one, whose = "/api/devices/{tenant_id}/{device_id}", "tenant_id"
    return [
        Question("/api/devices", Asked, "Devices and how they are.", page.devices, tenant="tenant"),
        Question("/api/devices", New, "A device is registered, or changed.", page.register, method="POST", tenant=whose),
        Question(one, One, "A device and how it is.", page.device, tenant=whose),
        Question(one, Retired, "A device goes out of service.", page.retire, method="DELETE", tenant=whose),
    ]


def keep(app: App, place: Place, session: Session) -> list[Question]:
    """Have a gateway keep the register of its devices; what it can be asked about them."""
    listens = listening()
    return questions(Reporting(app, place, lambda: listens | {Source.MQTT} if session.subscribed else listens))
