"""SensorReading columns of what a fleet sends."""

from typing import Final

import polars as pl

UNKNOWN_SENSOR: Final = "torque"
HOUR_MS: Final = 3_600_000
SHIFT_HOURS: Final = 8
SHIFTS: Final = ("night", "early", "late")  # from 22:00, 6:00 and 14:00 UTC


def render(fleet: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """Columns of `schemas/avro/factory.readings.avsc` for rows of `channel`, `timestamp`, `value`, `sent_at` and `fault`."""
    lines = fleet["production_line"].unique().sort()
    metadata = pl.Series(
        [[{"key": "production_line", "value": line}, {"key": "shift", "value": shift}] for line in lines for shift in SHIFTS]
    )
    line = fleet["production_line"].cast(pl.Enum(lines)).to_physical()[sent["channel"]]
    shift = (sent["sent_at"] // HOUR_MS + 2) // SHIFT_HOURS % len(SHIFTS)
    return sent.select(
        fleet["device_id"][sent["channel"]],
        pl.when(pl.col("fault") == "unknown_sensor")
        .then(pl.lit(UNKNOWN_SENSOR))
        .otherwise(fleet["sensor_type"][sent["channel"]])
        .alias("sensor_type"),
        "value",
        "timestamp",
        fleet["location"][sent["channel"]],
        metadata[line.cast(pl.Int64) * len(SHIFTS) + shift].alias("metadata"),
        fleet["plant"][sent["channel"]],
    )
