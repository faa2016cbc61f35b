"""Framed Avro to columns and back: total over any input, a row or a reject for every record.

values ─ by frame ─▶ one schema id ─ bulk ─▶ block ─ projection ─▶ frame of the reader's columns
            │                         └─ poison ──┐       └─ null field ──┐
            └─ tombstone, bad magic, unknown ─────┴─────▶ rejects ◀───────┘
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import polars as pl

from schemas.bulk import read_block, write_block
from schemas.codec import FRAME_BYTES, GREATEST_SCHEMA_ID, Codec
from schemas.evolution import Incompatible, project
from schemas.poison import salvage
from schemas.reference import read_exact, resolve, write_records
from schemas.rejects import Reason, Reject

__all__ = ["Codec", "Decoded", "decode", "encode"]

FEW: Final = 24
"""Records written one by one: each takes 13 µs, a pass in bulk 400 µs however few they are."""
FEW_READ: Final = 12
"""Records read one by one, each in 20 µs with writing it again to see that nothing else is in it; a pass in bulk takes 450 µs."""
_LONG_FRAME_BYTES: Final = 9
"""A zero byte and an id of eight bytes, as Apicurio's serializers write unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of a batch: every record is a row of `frame`, a reject, or of an unknown schema."""

    frame: pl.DataFrame
    """`row` (UInt32, the record's position in the batch, ascending) and the reader's columns, `Codec.columns`."""
    rejects: list[Reject]
    """Ascending by row."""
    unknown: frozenset[int]
    """Schema ids without a codec so far; their records await them, neither rows nor rejects."""


def encode(codec: Codec, schema_id: int, frame: pl.DataFrame) -> list[bytes]:
    """Write a framed record for each row. Timestamps may be integers in the schema's unit or Datetimes; other columns are ignored.

    Raises ValueError for a null where none may be, and Polars' own errors for a missing column or one that does not fit.
    """
    if codec.columns is None or codec.framed is None:
        raise ValueError(f"{codec.name or codec.text} is not written in bulk: {codec.defect or 'it has a fixed or a union'}")
    columns = []
    for name, dtype in codec.columns.items():
        column = frame.get_column(name)
        if isinstance(column.dtype, pl.Datetime):
            column = column.dt.timestamp("us" if codec.logical_types[name] == "timestamp-micros" else "ms")
        columns.append(column if column.dtype == dtype else column.cast(dtype))
    body = pl.DataFrame(columns)
    if codec.flat and body.height <= FEW:
        return write_records(codec, schema_id, body)
    batches = body.to_arrow().cast(codec.arrow).combine_chunks().to_batches()
    return write_block(codec, schema_id, batches[0]) if batches else []


def decode(values: Sequence[bytes | None], reader: Codec, writers: Mapping[int, Codec], missing: Set[int] = frozenset()) -> Decoded:
    """Read a batch of framed records (None: a tombstone) into the reader's columns. Never raises on what the records hold.

    `writers` are the schemas known by id, `missing` the ids the registry says it does not have. At most 2 GiB at a time.
    Raises ValueError for a reader's schema that makes no columns.
    """
    if reader.columns is None or reader.unfit:
        raise ValueError(
            f"{reader.name or reader.text} makes no columns: {reader.unfit or 'it has a union of more than null and one other'}"
        )
    return _decode_uniform(values, reader, writers) or _decode_mixed(values, reader, writers, missing)


def _decode_uniform(values: Sequence[bytes | None], reader: Codec, writers: Mapping[int, Codec]) -> Decoded | None:
    """The usual batch, all good and of one schema id, in 260 ns a record; None for any other."""
    first = values[0] if values else None
    if first is None or len(first) < FRAME_BYTES:
        return None
    schema_id = int.from_bytes(first[1:FRAME_BYTES])
    writer = writers.get(schema_id)
    if writer is None or writer.framed is None:
        return None
    try:
        projection = project(writer, reader)
        if projection is None:
            return None
        body = _read_exact(writer, schema_id, values)
    except (Incompatible, ValueError, TypeError):  # TypeError: a tombstone among them
        return None
    if body is None:
        return None
    row = pl.Series("row", np.arange(len(values), dtype=np.uint32))
    frame, rejects = projection.apply(body.insert_column(0, row))
    return Decoded(frame, rejects, frozenset())


def _read_exact(writer: Codec, schema_id: int, values: Sequence[bytes | None]) -> pl.DataFrame | None:
    """Records of which every byte is accounted for by what was read, as the writer's columns; None if there are others."""
    if len(values) <= FEW_READ:
        return read_exact(writer, schema_id.to_bytes(FRAME_BYTES), values)
    block = read_block(writer, schema_id, cast(list[bytes], list(values)))
    return None if block.inexact(cast(Sequence[bytes], values)) else pl.DataFrame(block.body)


def _decode_mixed(values: Sequence[bytes | None], reader: Codec, writers: Mapping[int, Codec], missing: Set[int]) -> Decoded:
    rejects: list[Reject] = []
    unknown: set[int] = set()
    groups: dict[int, dict[int, bytes]] = defaultdict(dict)
    for row, value in enumerate(values):
        if value is None:
            rejects.append(Reject(row, Reason.TOMBSTONE, "no value"))
        elif len(value) < FRAME_BYTES or value[0]:
            rejects.append(Reject(row, Reason.BAD_MAGIC, _unframed(value)))
        else:
            groups[int.from_bytes(value[1:FRAME_BYTES])][row] = value
    frames = [_no_rows(reader)]
    for schema_id, rows in groups.items():
        writer = writers.get(schema_id)
        if writer is not None:
            frame, refused = _decode_group(writer, reader, schema_id, list(rows), list(rows.values()))
            frames.append(frame)
            rejects += refused
        elif schema_id in missing or not 0 < schema_id <= GREATEST_SCHEMA_ID:
            rejects += [Reject(row, Reason.UNKNOWN_SCHEMA, unheard_of(schema_id, value)) for row, value in rows.items()]
        else:
            unknown.add(schema_id)
    return Decoded(pl.concat(frames).sort("row"), sorted(rejects, key=lambda reject: reject.row), frozenset(unknown))


def _decode_group(writer: Codec, reader: Codec, schema_id: int, rows: list[int], values: list[bytes]) -> tuple[pl.DataFrame, list[Reject]]:
    """Read records of one schema id, which stand at `rows` of the batch."""
    try:
        projection = project(writer, reader)
    except Incompatible as problem:
        return _no_rows(reader), [Reject(row, Reason.INCOMPATIBLE_SCHEMA, str(problem)) for row in rows]
    if projection is None or writer.framed is None:
        return resolve(writer, reader, rows, values)
    frame, defects = salvage(writer, schema_id, values)
    frame = frame.with_columns(row=pl.Series(rows, dtype=pl.UInt32).gather(frame.get_column("row")))
    frame, rejects = projection.apply(frame)
    return frame, rejects + [Reject(rows[position], Reason.UNDECODABLE, defect) for position, defect in defects.items()]


def _unframed(value: bytes) -> str:
    """What is there instead of a frame, and the producers that write so."""
    found = f"{len(value)} bytes, starting {value[:FRAME_BYTES].hex() or 'empty'}"
    if value[:1] in (b"{", b"["):
        return f"{found}: JSON, not Avro"
    return f"{found}: no zero byte and schema id in front; let the producer write them there, not into a header"


def unheard_of(schema_id: int, value: bytes) -> str:
    """The id the registry does not have; in the first four bytes of one of eight bytes are zeros."""
    if schema_id == 0 and (longer := int.from_bytes(value[1:_LONG_FRAME_BYTES])) and len(value) >= _LONG_FRAME_BYTES:
        return f"schema id 0, or {longer} in eight bytes: let the producer write ids of four bytes (Apicurio: use Confluent's format)"
    return f"schema id {schema_id}"


def _no_rows(reader: Codec) -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.UInt32, **(reader.columns or {})})
