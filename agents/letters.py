"""What is written about records that could not be used, or not in time: DeadLetter and LateRecord columns."""

from collections.abc import Sequence

import polars as pl

from agents.reading import Records
from schemas.bounds import DETAIL_LETTERS, KEY_BYTES, PAYLOAD_BYTES
from schemas.quoting import brief
from schemas.rejects import Reject


def dead_letters(batch: Records, rejects: Sequence[Reject]) -> pl.DataFrame:
    """A DeadLetter row for each reject of a batch."""
    rows = [reject.row for reject in rejects]
    return pl.DataFrame(
        {
            "reason": [str(reject.reason) for reject in rejects],
            "detail": [brief(reject.detail, DETAIL_LETTERS) for reject in rejects],
            "topic": batch.topic,
            "partition": batch.partition,
            "offset": [batch.offsets[row] for row in rows],
            "timestamp": [batch.timestamps[row] for row in rows],
            "key": [_cut(batch.keys[row], KEY_BYTES) for row in rows],
            "value": [_cut(batch.values[row], PAYLOAD_BYTES) for row in rows],
        },
        schema_overrides={"key": pl.Binary, "value": pl.Binary},
    )


def late_records(batch: Records, late: pl.DataFrame) -> pl.DataFrame:
    """A LateRecord row for each late reading of a batch; `late` has `row`, `device_id`, `offset`, `timestamp` and `watermark`."""
    return late.select(
        "device_id",
        pl.lit(batch.topic).alias("topic"),
        pl.lit(batch.partition).alias("partition"),
        "offset",
        "timestamp",
        (pl.col("watermark") - pl.col("timestamp")).alias("late_by_ms"),
        pl.Series("value", [_cut(batch.values[row], PAYLOAD_BYTES) for row in late["row"]], dtype=pl.Binary),
    )


def _cut(content: bytes | None, length: int) -> bytes | None:
    return content if content is None or len(content) <= length else content[:length]
