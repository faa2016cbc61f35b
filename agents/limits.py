"""Sensor types: what each can measure and what is critical, those of the code and those that operators apply while readings flow.

A reading is judged by the limits that were in force when Kafka took it. So whoever reads it, the domain's worker or the warehouse, now or
again after a crash, judges it alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import polars as pl
from pydantic import Field, FiniteFloat, ValidationError, model_validator

from agents.row_model import RowModel
from tables.aggregates import GREATEST

NUMBERS: Final = ("minimum", "maximum", "critical", "fast")
ALWAYS: Final = -(2**63)
"""Since when the limits of the code are in force."""
NOTICE_MS: Final = 2000
"""From apply to in force: every worker has read of it by then, as it asks Kafka each half second."""


@dataclass(frozen=True)
class Sensor:
    """One sensor type: readings outside minimum to maximum are invalid, above critical they raise an alert, as does a fast change."""

    sensor_type: str
    unit: str
    minimum: float
    maximum: float
    critical: float
    fast: float
    """Change of the mean from one minute to the next."""


class Row(RowModel):
    """One sensor type of an operator, in a file and in the topic `sensors`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,60}$")
    unit: str
    minimum: FiniteFloat = Field(ge=-GREATEST, le=GREATEST)
    maximum: FiniteFloat = Field(ge=-GREATEST, le=GREATEST)
    critical: FiniteFloat
    fast: FiniteFloat = Field(gt=0)
    retired: bool = False
    """No longer known: its readings are rejects, be it a sensor type of the code."""

    @model_validator(mode="after")
    def _in_order(self) -> "Row":
        if not self.minimum < self.maximum:
            raise ValueError(f"maximum {self.maximum:g} is not above minimum {self.minimum:g}")
        if not self.minimum < self.critical <= self.maximum:
            raise ValueError(f"critical {self.critical:g} is not above minimum {self.minimum:g} and up to maximum {self.maximum:g}")
        return self


def refused(record: Mapping[str, Any]) -> str | None:
    """What is wrong with a record of the topic; None if nothing is."""
    try:
        Row.model_validate({name: record[name] for name in Row.model_fields})
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, found['loc']))} {found['msg']}".strip() for found in error.errors())
    return None


class Bounds(NamedTuple):
    """What can be measured."""

    minimum: float
    maximum: float


FEW: Final = 100
"""Records whose limits are looked up one by one: a join costs 0.3 ms, as much as a hundred of them, and a tenth of a pass over few."""
_SHOWN: Final = tuple(name for name in Row.model_fields if name != "name")


class Limits:
    """The limits of a domain's sensor types through time."""

    def __init__(self, sensors: Sequence[Sensor], applied: Sequence[Mapping[str, Any]] = ()) -> None:
        """`applied`: records of the topic `sensors` that are fit (columns of its schema), in the order they were applied in."""
        self.sensors = sensors
        self.applied = applied
        rows = [{**asdict(sensor), "in_force_at": ALWAYS} for sensor in sensors]
        rows += [{**record, "sensor_type": record["name"], **(dict.fromkeys(NUMBERS) if record["retired"] else {})} for record in applied]
        schema = {"sensor_type": pl.String, **dict.fromkeys(NUMBERS, pl.Float64), "in_force_at": pl.Int64}
        history = pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema).with_columns(subject="sensor_type")
        self._history = history.sort("in_force_at", maintain_order=True)
        self._latest = self._history.unique("sensor_type", keep="last", maintain_order=True).drop("in_force_at")
        self._row = {name: row for row, name in enumerate(self._latest["sensor_type"].to_list())}
        self._columns = [(column.name, column.dtype, [*column.to_list(), None]) for column in self._latest.drop("sensor_type")]
        """Name, type and values of each column; the last value is that of a sensor type that is not known."""
        self._bounds: dict[str, list[tuple[int, Bounds | None]]] = {}
        for name, since, minimum, maximum in self._history.select("sensor_type", "in_force_at", "minimum", "maximum").iter_rows():
            bounds = None if minimum is None else Bounds(minimum, maximum)
            self._bounds.setdefault(name, []).insert(0, (since, bounds))
        self._changed_at: int = self._history["in_force_at"].max() if applied else ALWAYS  # type: ignore[assignment]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every sensor type as it was last applied, or as the code has it: a Row's fields, `in_force_at` (ms, None: always), `from`."""
        known = {sensor.sensor_type: asdict(sensor) | {"retired": False, "in_force_at": None, "from": "code"} for sensor in self.sensors}
        known |= {record["name"]: {**record, "from": record["applied_by"]} for record in self.applied}
        return [{"name": name, **{field: row[field] for field in (*_SHOWN, "in_force_at", "from")}} for name, row in known.items()]

    def when_taken(self, records: pl.DataFrame) -> pl.DataFrame:
        """Records with the limits of their `sensor_type` at their `arrival`, and their `subject`; nulls where it was not known."""
        if self._changed_at == ALWAYS or records.is_empty() or records["arrival"].min() >= self._changed_at:  # type: ignore[operator]
            return self.latest(records)
        rows = records.with_row_index("place").sort("arrival")
        then = rows.join_asof(self._history, left_on="arrival", right_on="in_force_at", by="sensor_type", check_sortedness=False)
        return then.sort("place").select(*records.columns, *NUMBERS, "subject")

    def bounds(self, sensor_type: str, arrival: int) -> Bounds | None:
        """What `when_taken` says a single measurement is to be within; None where its type was not known."""
        for since, bounds in self._bounds.get(sensor_type, ()):
            if since <= arrival:
                return bounds
        return None

    def latest(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same with the limits of now."""
        if frame.height > FEW:
            return frame.join(self._latest, on="sensor_type", how="left", maintain_order="left")
        rows = [self._row.get(sensor_type, self._latest.height) for sensor_type in frame["sensor_type"].to_list()]
        return frame.hstack([pl.Series(name, [values[row] for row in rows], dtype) for name, dtype, values in self._columns])
