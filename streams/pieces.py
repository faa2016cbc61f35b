"""Rows on their way into an insert: taken from batches, put together, named, and halved where ClickHouse refuses them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Self, cast

import numpy as np
import polars as pl
from faust.types import EventT

from schemas.catalog import Contract
from streams.batches import Batch


@dataclass(frozen=True)
class Piece:
    """Rows of one batch: the table's columns, and `row`, the position of each row's record in the batch."""

    event: EventT[Any]
    rows: pl.DataFrame

    @property
    def batch(self) -> Batch:
        """What the rows are of."""
        return cast(Batch, self.event.value)

    @property
    def name(self) -> str:
        """Its rows' place in the log. With their timestamps: a topic that is made anew counts its offsets from 0 again."""
        batch, ends = self.batch, (self.rows["row"][0], self.rows["row"][-1])
        return ":".join([str(batch.partition), *(f"{batch.offsets[row]}@{batch.timestamps[row]}" for row in ends)])

    def part(self, start: int, length: int) -> Self:
        """Some of its rows."""
        return replace(self, rows=self.rows.slice(start, length))


def together(pieces: Sequence[Piece]) -> pl.DataFrame:
    """All rows, as the table has them."""
    return pl.concat([piece.rows for piece in pieces]).drop("row")


def token(topic: str, pieces: Sequence[Piece]) -> str:
    """The insert's name: equal for the same rows of the same records, tried again or read again."""
    return blake2b(" ".join([topic, *(piece.name for piece in pieces)]).encode(), digest_size=16).hexdigest()


def height(pieces: Sequence[Piece]) -> int:
    """How many rows."""
    return sum(piece.rows.height for piece in pieces)


def halves(pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Two or more rows in two parts, neither empty, in their order; pieces stay whole unless there is only one."""
    if len(pieces) > 1:
        return list(pieces[: len(pieces) // 2]), list(pieces[len(pieces) // 2 :])
    (piece,), half = pieces, pieces[0].rows.height // 2
    return [piece.part(0, half)], [piece.part(half, piece.rows.height - half)]


def located(batch: Batch, frame: pl.DataFrame) -> pl.DataFrame:
    """Decoded records with `partition`, `offset`, `key` and `arrival` (Kafka timestamp, ms)."""
    row = frame["row"]
    said = [
        pl.Series("offset", batch.offsets, dtype=pl.Int64),
        pl.Series("key", batch.keys, dtype=pl.Binary),
        pl.Series("arrival", batch.timestamps, dtype=pl.Int64),
    ]
    if len(row) < len(batch):
        said = [column.gather(row) for column in said]
    return frame.hstack([pl.Series("partition", np.full(len(row), batch.partition, np.int32)), *said])


def columns(contract: Contract) -> list[pl.Expr]:
    """A contract's fields as its table has them: times as such, everything else as it travels."""
    return [
        pl.col(name).cast(pl.Datetime("ms", "UTC")) if logical == "timestamp-millis" else pl.col(name)
        for name, logical in contract.codec.logical_types.items()
    ]
