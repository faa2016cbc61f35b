"""One record at a time by fastavro: the reference the bulk decoder is held to, and the reader of what it cannot take."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, Final, cast

import fastavro
import polars as pl
from fastavro.read import SchemaResolutionError
from fastavro.validation import ValidationError, validate

from schemas.codec import FRAME_BYTES, Codec
from schemas.nodes import is_bytes, nullable
from schemas.quoting import quoted
from schemas.rejects import Reason, Reject

Datum = dict[str, Any]
"""A record as fastavro gives it: field name to value."""

UNREADABLE: Final = (LookupError, ValueError, ArithmeticError, TypeError)
"""What else fastavro raises on garbage: bad UTF-8, numbers too large."""


def read_record(writer: Codec, value: bytes, reader: Codec | None = None) -> Datum:
    """Read a framed record by its writer's schema, resolved to the reader's where one is given.

    ValueError names what is wrong with the bytes; fastavro's SchemaResolutionError passes.
    """
    body = BytesIO(value)
    body.seek(FRAME_BYTES)
    try:
        datum = fastavro.schemaless_reader(body, writer.written, reader.parsed if reader else None)
    except EOFError as problem:
        raise ValueError("ends before its last field does") from problem
    except IndexError as problem:
        raise ValueError("no such branch of a union, or symbol of an enum") from problem
    except UNREADABLE as problem:
        raise ValueError(f"{type(problem).__name__}: {problem}") from problem
    if left := len(value) - body.tell():
        raise ValueError(f"{left} bytes left over")
    return cast(Datum, datum)


def read_sound(writer: Codec, value: bytes) -> Datum:
    """Read a framed record as `read_record` does. ValueError as well for a value that its schema does not allow."""
    datum = read_record(writer, value)
    try:
        validate(datum, writer.written)  # fastavro reads an int of any length
    except ValidationError as problem:
        wrong = (f"{each.field} is {quoted(each.datum)}, which its type has not" for each in problem.errors)
        raise ValueError("; ".join(dict.fromkeys(wrong))) from problem
    return datum


def write_body(codec: Codec, datum: Datum) -> bytes:
    """Write a record without its frame."""
    body = BytesIO()
    fastavro.schemaless_writer(body, codec.parsed, datum)
    return body.getvalue()


def write_records(codec: Codec, schema_id: int, body: pl.DataFrame) -> list[bytes]:
    """Write one framed record a row of `body`, `Codec.columns` of a flat codec; ValueError for a null where none may be."""
    for column in body:
        if column.null_count() and not nullable(codec.fields[column.name]["type"])[0]:
            raise ValueError(f"{column.name} has a null where none may be")
    frame = schema_id.to_bytes(FRAME_BYTES)
    return [frame + write_body(codec, row) for row in body.iter_rows(named=True)]


def read_exact(codec: Codec, frame: bytes, values: Sequence[bytes | None]) -> pl.DataFrame | None:
    """Records framed alike, one by one, as the schema's columns; None if one is not framed so, or not written just as we write it."""
    data: list[Datum] = []
    for value in values:
        if value is None or not value.startswith(frame):
            return None
        try:
            datum = read_record(codec, value)
        except ValueError:
            return None
        if not validate(datum, codec.parsed, raise_errors=False) or frame + write_body(codec, datum) != value:
            return None
        data.append(datum)
    return pl.DataFrame(data, codec.columns)


def resolve(writer: Codec, reader: Codec, rows: Sequence[int], values: Sequence[bytes]) -> tuple[pl.DataFrame, list[Reject]]:
    """Read framed records one by one: a frame of `row` and the reader's columns, and a reject for every other record."""
    kept: list[int] = []
    data: list[Datum] = []
    rejects: list[Reject] = []
    # fastavro leaves a default of bytes the string of code points that JSON has for it
    text_defaults = [name for name, field in reader.fields.items() if is_bytes(field["type"])]
    for row, value in zip(rows, values, strict=True):
        try:
            datum = read_record(writer, value, reader)
        except ValueError as problem:
            rejects.append(Reject(row, Reason.UNDECODABLE, str(problem)))
        except SchemaResolutionError as problem:
            rejects.append(_misfit(writer, reader, row, value, problem))
        else:
            datum |= {name: datum[name].encode("latin-1") for name in text_defaults if isinstance(datum[name], str)}
            if validate(datum, reader.parsed, raise_errors=False):
                kept.append(row)
                data.append(datum)
            else:
                rejects.append(Reject(row, Reason.UNDECODABLE, "out of range"))
    return pl.DataFrame(data, reader.columns).insert_column(0, pl.Series("row", kept, pl.UInt32)), rejects


def _misfit(writer: Codec, reader: Codec, row: int, value: bytes, problem: SchemaResolutionError) -> Reject:
    try:
        datum = read_record(writer, value)
    except ValueError as garbage:
        return Reject(row, Reason.UNDECODABLE, str(garbage))
    for name, field in reader.fields.items():
        if name in datum and datum[name] is None and not nullable(field["type"])[0]:
            return Reject(row, Reason.NULL_FIELD, f"{name} is null")
    return Reject(row, Reason.INCOMPATIBLE_SCHEMA, str(problem))
