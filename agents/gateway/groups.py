"""Groups of devices as data: rows of `device-groups`, and which devices a request means."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from agents.devices.device_id import fault

LONGEST_LIST: Final = 500_000
"""Bytes of a group's ids; a record has to go into Kafka."""


class Group(BaseModel):
    """Devices that are told things together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,60}$")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")
    data_type: str = Field(default="", pattern=r"^([a-z0-9][a-z0-9_-]{0,60})?$")
    district: str = Field(default="", max_length=200)
    devices: str = Field(default="", max_length=LONGEST_LIST)
    """Ids, separated by spaces; none: the group is no more."""

    @field_validator("devices")
    @classmethod
    def _are_devices(cls, devices: str) -> str:
        if odd := next(filter(None, map(fault, devices.split())), None):
            raise PydanticCustomError("device_id", "{odd}", {"odd": odd})
        return devices

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Group":
        """The group of a record of the topic. Raises pydantic's ValidationError."""
        return cls.model_validate({name: record[name] for name in cls.model_fields})


class Selection(BaseModel):
    """Which devices are meant: those of all groups that are as said, and of them those whose ids match the pattern."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, description="Of this group.")
    data_type: str | None = Field(default=None, description="Of groups of such devices, e.g. lighting.")
    district: str | None = Field(default=None, description="Of groups in this district.")
    pattern: str = Field(default="*", max_length=200, description="Those with such ids; * stands for anything, ? for one character.")

    def devices(self, groups: Iterable[Group]) -> list[str]:
        """Their ids, each once, in the order of the groups."""
        wanted = {name: value for name in ("name", "data_type", "district") if (value := getattr(self, name)) is not None}
        meant = (group for group in groups if all(getattr(group, name) == value for name, value in wanted.items()))
        ids = dict.fromkeys(device for group in meant for device in group.devices.split())
        return [device for device in ids if fnmatchcase(device, self.pattern)]
