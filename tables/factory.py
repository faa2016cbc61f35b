"""What the factory remembers: the last minutes of every sensor, in one table."""

from typing import Final

from tables.windows import Windowing

TABLE: Final = "readings-1m"
"""Stored name: with the worker's it names the changelog topic, so it never changes."""

# Tumbling minutes and ten minutes hopping by one (requirement document, case 1). Devices stamp readings with their own clocks and gateways
# resend after short losses: 5 s of disorder cost every window that much delay, 60 s of lateness one more pane of memory.
WINDOWING: Final = Windowing(
    keys=("device_id", "sensor_type"), pane_ms=60_000, windows_ms=(60_000, 600_000), disorder_ms=5_000, lateness_ms=60_000
)
