"""What operators register of a device, one by one or many in a CSV file."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from io import StringIO
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agents.devices.device_id import DeviceId
from schemas.bounds import METADATA_BYTES, METADATA_MEMBERS
from schemas.quoting import quoted

REQUIRED: Final = ("device_id", "device_type")
_FIELDS: Final = (*REQUIRED, "tenant_id", "protocol", "latitude", "longitude", "district", "firmware")
"""Columns of a file; any other is metadata."""
_SLIP: Final = 0.88
"""How like each other two names are that differ by a letter; `lattitude` and `latitude` are 0.94."""


class Registration(BaseModel):
    """A device; `<tenant>/<device>` keys it in the topic `devices`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device_id: DeviceId
    device_type: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")
    tenant_id: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,60}$")
    protocol: str = Field(default="", pattern="^(mqtt|coap|http|websocket)?$")
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    district: str = Field(default="", max_length=200)
    firmware: str = Field(default="", max_length=200)
    registered_at: int = 0
    """Unix milliseconds; 0: it is not yet."""
    metadata: dict[str, str] = {}
    retired: bool = False

    @field_validator("metadata")
    @classmethod
    def _is_bounded(cls, metadata: dict[str, str]) -> dict[str, str]:
        size = sum(len(text.encode("utf-8", "replace")) for pair in metadata.items() for text in pair)
        if len(metadata) > METADATA_MEMBERS or size > METADATA_BYTES:
            raise ValueError(f"{len(metadata)} members of {size} bytes, at most {METADATA_MEMBERS} of {METADATA_BYTES} are kept")
        return metadata

    @property
    def key(self) -> str:
        """What it is known by."""
        return f"{self.tenant_id}/{self.device_id}"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Registration":
        """That of a record of the topic. Raises pydantic's ValidationError."""
        return cls.model_validate({name: record[name] for name in cls.model_fields})


class Misfit(NamedTuple):
    """A line of a file that cannot be, counted from 1."""

    line: int
    problem: str


def from_csv(text: str, unless_said: Mapping[str, str]) -> tuple[list[Registration], list[Misfit]]:
    """Read a file whose first line names its columns; `unless_said` stands for empty cells. All that is wrong is told, not the first."""
    table = csv.DictReader(StringIO(text), restkey="", strict=True)
    try:
        columns = [name.strip() for name in table.fieldnames or ()]
    except csv.Error as wrong:
        return [], [Misfit(1, f"the first line names the columns, and cannot be read: {wrong}")]
    table.fieldnames = columns
    if wrong_columns := next(_wrong(columns, unless_said), ""):
        return [], [Misfit(1, f"the first line names the columns, and {wrong_columns}")]
    found: dict[str, Registration] = {}
    misfits: list[Misfit] = []
    try:
        for cells in table:
            try:
                device = _read(cells, unless_said)
            except (ValidationError, ValueError) as wrong:
                misfits.append(Misfit(table.line_num, problem(wrong)))
                continue
            if device.key in found:
                misfits.append(Misfit(table.line_num, f"device_id: {device.key} is there twice"))
            found[device.key] = device
    except csv.Error as wrong:
        misfits.append(Misfit(table.reader.line_num, str(wrong)))
    return [*found.values()], misfits


def _wrong(columns: Sequence[str], unless_said: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the names of a file's columns."""
    if parted := [sign for sign in (";", "\t") if len(columns) == 1 and sign in columns[0]]:
        yield f"needs commas between them, not {quoted(parted[0])}"
    if twice := [name for name, times in Counter(columns).items() if name and times > 1]:
        yield f"has {', '.join(twice)} twice"
    if columns and not all(columns):
        yield f"has no name for column {columns.index('') + 1}"
    for name in columns:
        if name in Registration.model_fields.keys() - {*_FIELDS}:
            yield f"cannot have {name}, which is not said in a file"
        near = get_close_matches(name.lower(), _FIELDS, 1, _SLIP)
        if name not in _FIELDS and near:
            yield f"has {quoted(name)}; did you mean {near[0]}?"
    if missing := [name for name in REQUIRED if name not in columns and not unless_said.get(name)]:
        yield f"has no {', '.join(missing)}"


def problem(wrong: ValueError) -> str:
    """The first thing that is wrong, and of which field."""
    if not isinstance(wrong, ValidationError):
        return str(wrong)
    first = wrong.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"


def _read(cells: Mapping[str, Any], unless_said: Mapping[str, str]) -> Registration:
    if "" in cells:
        raise ValueError("more cells than columns")
    said = {name: (text or "").strip() for name, text in cells.items()}
    fields = dict(unless_said) | {name: said[name] for name in _FIELDS if said.get(name)}
    metadata = {name: text for name, text in said.items() if name not in _FIELDS and text}
    return Registration.model_validate(fields | {"metadata": metadata})
