"""The sensors of a production machine: what each can measure and what is critical. A new sensor type is a row here."""

from dataclasses import astuple, dataclass
from typing import Final

import polars as pl


@dataclass(frozen=True)
class Sensor:
    """One sensor type: readings outside minimum to maximum are invalid, above critical they raise an alert."""

    sensor_type: str
    unit: str
    minimum: float
    maximum: float
    critical: float


# Limits: requirement document, case 1 (SensorDataValidator.THRESHOLDS).
SENSORS: Final = (
    Sensor("temperature", "°C", -40, 200, 150),
    Sensor("pressure", "kPa", 0, 1000, 800),
    Sensor("vibration", "mm/s", 0, 50, 40),
    Sensor("current", "A", 0, 100, 90),
    Sensor("voltage", "V", 180, 260, 250),
    Sensor("humidity", "%RH", 0, 100, 95),
)

LIMITS: Final = pl.DataFrame(
    [astuple(sensor) for sensor in SENSORS],
    schema={"sensor_type": pl.String, "unit": pl.String, "minimum": pl.Float64, "maximum": pl.Float64, "critical": pl.Float64},
    orient="row",
).select("sensor_type", "minimum", "maximum", "critical", subject="sensor_type")
"""The limits as columns, to join on `sensor_type`, and what alerts call it."""
