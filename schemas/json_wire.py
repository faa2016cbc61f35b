"""JSON objects to a contract's columns and back: for devices that know nothing of Avro."""

from collections.abc import Sequence, Set
from typing import Any

import orjson
import polars as pl

from schemas import json_text
from schemas.codec import Codec
from schemas.quoting import quoted
from schemas.rejects import Reason, Reject
from schemas.sorting import ABSENT, sort_out
from schemas.wire import Decoded


def decode(values: Sequence[bytes], reader: Codec, given: Set[str] = frozenset()) -> Decoded:
    """Read a batch of objects into the reader's columns; members it does not know are left out. Never raises on what they hold.

    Fields without a default have to be there, but those that are `given` from elsewhere.
    """
    rows: list[int] = []
    documents: list[dict[str, Any]] = []
    unread: list[Reject] = []
    for row, value in enumerate(values):
        try:
            document = json_text.loads(value)
        except ValueError as error:
            unread.append(Reject(row, Reason.UNDECODABLE, f"not JSON: {error}"))
            continue
        if isinstance(document, dict):
            rows.append(row)
            documents.append(document)
        else:
            unread.append(Reject(row, Reason.INCOMPATIBLE_SCHEMA, f"a JSON object is needed, not {quoted(document)}"))
    found = {name: [document.get(name, ABSENT) for document in documents] for name in reader.fields}
    for name in found:
        if reader.logical_types[name] is not None:
            # 1.79e12 is the same number in JSON, and how Lua's and C's clients write it
            found[name] = [int(value) if type(value) is float and value.is_integer() else value for value in found[name]]
    return sort_out(reader, rows, found, unread, given)


def encode(frame: pl.DataFrame) -> list[bytes]:
    """Write an object for each row, its maps as objects; no number at all is null."""
    maps = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Map)]
    records = frame.to_dicts()
    for record in records:
        record |= {name: dict(record[name]) for name in maps}
    return [orjson.dumps(record) for record in records]
