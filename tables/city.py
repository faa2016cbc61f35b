"""What the city remembers: the last minutes of every sensor, and the last day of every district."""

from typing import Final

from tables.windows import Windowing

TABLE: Final = "city-1m"
DISTRICTS_TABLE: Final = "districts-1h"
"""Stored names: with the worker's they name the changelog topics, so they never change."""

PLACES: Final = ("origin", "position")

# Devices are on weak networks: what a gateway or a device has kept for ten minutes still counts. Nor are topics read in step: after an
# outage of as long, all of them are windowed whole.
LATENESS_MS: Final = 600_000

WINDOWING: Final = Windowing(
    keys=("device_id", "sensor_type"),
    pane_ms=60_000,
    windows_ms=(60_000, 600_000),
    disorder_ms=5_000,
    lateness_ms=LATENESS_MS,
    places=PLACES,
)
# Hours, and days that hop by one: limits of the air are of these.
DISTRICTS_WINDOWING: Final = Windowing(
    keys=("device_id", "sensor_type"),
    pane_ms=3_600_000,
    windows_ms=(3_600_000, 86_400_000),
    disorder_ms=5_000,
    lateness_ms=LATENESS_MS,
    places=PLACES,
)
