"""The sensors of a production machine: what each can measure and what is critical. A new sensor type is a row here."""

from dataclasses import asdict, dataclass
from typing import Final

import polars as pl


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


# Limits: requirement document, case 1 (SensorDataValidator.THRESHOLDS).
SENSORS: Final = (
    Sensor("temperature", "°C", -40, 200, 150, 30),
    Sensor("pressure", "kPa", 0, 1000, 800, 150),
    Sensor("vibration", "mm/s", 0, 50, 40, 10),
    Sensor("current", "A", 0, 100, 90, 25),
    Sensor("voltage", "V", 180, 260, 250, 15),
    Sensor("humidity", "%RH", 0, 100, 95, 20),
)

_COLUMNS: Final = pl.DataFrame([asdict(sensor) for sensor in SENSORS]).cast(
    dict.fromkeys(("minimum", "maximum", "critical", "fast"), pl.Float64)
)

LIMITS: Final = _COLUMNS.select("sensor_type", "minimum", "maximum", "critical", subject="sensor_type")
"""What a reading is judged by, to join on `sensor_type`, and what alerts call it."""
TREND_LIMITS: Final = _COLUMNS.select("sensor_type", "critical", "fast", subject="sensor_type")
"""The same for a trend."""
