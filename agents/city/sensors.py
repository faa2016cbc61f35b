"""What the city's devices measure: the range of each, and above what a single measurement is critical. A new sensor type is a row here.

Of a yes or no, 1 is yes. What is critical of the air or of noise at one moment at one place is far above what is healthy for a day: those
limits are in agents/city/guidelines.py.
"""

from typing import Final

from agents.limits import Limits, Sensor

SENSORS: Final = (
    # China Meteorological Administration: red warning of heat at 40 °C.
    Sensor("temperature", "°C", -60, 70, 40, 10),
    Sensor("humidity", "%RH", 0, 100, 100, 30),
    # HJ 633-2012 (China's air quality index), table 1: index 300, from which the air is "severely polluted".
    Sensor("pm25", "µg/m³", 0, 2000, 250, 100),
    Sensor("pm10", "µg/m³", 0, 5000, 420, 200),
    # Directive 2008/50/EC, annex XII, alert thresholds: 400 µg/m³ of nitrogen dioxide, 240 µg/m³ of ozone.
    Sensor("no2", "µg/m³", 0, 4000, 400, 100),
    Sensor("o3", "µg/m³", 0, 2000, 240, 100),
    # WHO, Guidelines for Community Noise (1999), table 4.1: 110 dB at any moment at most, or hearing suffers.
    Sensor("noise", "dB(A)", 10, 139, 110, 40),
    Sensor("on", "", 0, 1, 1, 2),
    Sensor("power_w", "W", 0, 2000, 1000, 500),
    Sensor("brightness", "%", 0, 100, 100, 100),
    Sensor("fault", "", 0, 1, 0.5, 2),
    Sensor("unlit", "", 0, 1, 0.5, 2),
    Sensor("occupied", "", 0, 1, 1, 2),
    # 5° lift the edge of a cover of 600 mm by 5 cm.
    Sensor("tilt_deg", "°", 0, 180, 5, 10),
    # Of the water below the cover: the street floods next.
    Sensor("water_cm", "cm", 0, 1000, 80, 40),
    # Methane: a tenth of its lower explosive limit (4.4 % by volume, IEC 60079-20-1), above which nobody may climb in (29 CFR 1910.146).
    Sensor("gas_ppm", "ppm", 0, 8000, 4400, 2000),
    Sensor("open", "", 0, 1, 0.5, 2),
    Sensor("vehicles_per_min", "1/min", 0, 300, 300, 60),
    Sensor("speed_kmh", "km/h", 0, 300, 300, 60),
    Sensor("occupancy", "%", 0, 100, 100, 50),
    # Highway Capacity Manual 2016, exhibit 12-15: above 45 cars a mile and lane, 28 a kilometre, traffic breaks down (level of service F).
    Sensor("density_per_km", "1/km", 0, 8000, 28, 50),
)

YES_OR_NO: Final = frozenset(sensor.sensor_type for sensor in SENSORS if not sensor.unit)
LIMITS: Final = Limits(SENSORS)
