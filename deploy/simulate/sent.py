"""Every reading a run sent, for whoever looks for one that did not arrive."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl

FAULTS: Final = pl.Categories("simulated faults")


class Sent:
    """Some 14 bytes a reading, in the order they were sent."""

    def __init__(self, fleet: pl.DataFrame) -> None:
        self._fleet = fleet
        self._chunks: list[pl.DataFrame] = []

    def add(self, records: pl.DataFrame) -> None:
        """Records as a sink took them."""
        fault = pl.col("fault").fill_null("sound").cast(pl.Categorical(FAULTS))
        self._chunks.append(records.select("channel", "timestamp", fault))

    def frame(self, unacknowledged: Collection[int]) -> pl.DataFrame:
        """`device_id`, `sensor_type`, `sequence`, `timestamp` (ms), `fault`, `acknowledged`, a row each; those named are not.

        The sequence counts a sensor's sound readings by their time; it is null for what the faults added.
        """
        sent = (
            pl.concat(self._chunks)
            if self._chunks
            else pl.DataFrame(schema={"channel": pl.UInt32, "timestamp": pl.Int64, "fault": pl.String})
        )
        of_channel = self._fleet.select("device_id", "sensor_type")[sent["channel"]]
        numbered = sent.with_row_index("number").with_columns(pl.col("fault").cast(pl.String), *of_channel)
        sound = pl.col("fault").is_in(["sound", "disorder"])
        return numbered.select(
            "device_id",
            "sensor_type",
            pl.when(sound).then(pl.when(sound).then("timestamp").rank("ordinal").over("channel")).cast(pl.Int64).alias("sequence"),
            "timestamp",
            "fault",
            ~pl.col("number").is_in([*unacknowledged]).alias("acknowledged"),
        )

    def write(self, path: Path, unacknowledged: Collection[int]) -> None:
        """As Parquet."""
        self.frame(unacknowledged).write_parquet(path)
