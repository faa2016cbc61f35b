"""The sensors of a production machine: what each can measure and what is critical. A new sensor type is a row here."""

from typing import Final

from agents.limits import Limits, Sensor

# Limits: requirement document, case 1 (SensorDataValidator.THRESHOLDS).
SENSORS: Final = (
    Sensor("temperature", "°C", -40, 200, 150, 30),
    Sensor("pressure", "kPa", 0, 1000, 800, 150),
    Sensor("vibration", "mm/s", 0, 50, 40, 10),
    Sensor("current", "A", 0, 100, 90, 25),
    Sensor("voltage", "V", 180, 260, 250, 15),
    Sensor("humidity", "%RH", 0, 100, 95, 20),
)

LIMITS: Final = Limits(SENSORS)
