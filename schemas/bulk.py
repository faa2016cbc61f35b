"""Whole batches of framed records to Arrow and back, by pyruhvro."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyruhvro

from schemas.codec import Codec
from schemas.nodes import Node, kind, nullable


@dataclass(frozen=True, slots=True)
class Block:
    """Records of one schema id as columns."""

    codec: Codec
    framed: pa.RecordBatch
    """As pyruhvro read them, the frame included."""
    body: pa.RecordBatch
    """The schema's columns, `Codec.arrow`."""

    def _again(self) -> pa.BinaryArray:
        """Each record as pyruhvro writes it again."""
        return pyruhvro.serialize_record_batch(self.framed, self.codec.framed, 1)[0]

    def inexact(self, values: Sequence[bytes]) -> dict[int, bytes]:
        """Position of each record of which not every byte is accounted for by what was read, and the record written again.

        Writing again never takes more bytes than were read, so one sum settles the usual case.
        """
        again = self._again()
        ends = np.frombuffer(again.buffers()[1], np.int32, count=len(values) + 1)
        if sum(map(len, values)) == ends[-1]:
            return {}
        lengths = np.fromiter(map(len, values), np.int64, count=len(values))
        return {position: again[position].as_py() for position in np.flatnonzero(np.diff(ends) != lengths).tolist()}


def read_block(codec: Codec, schema_id: int, values: list[bytes]) -> Block:
    """Read records all framed with `schema_id`; ValueError where one is not, or cannot be read, or holds a string that is not UTF-8.

    pyruhvro copies strings without looking into them: so bytes are read as strings and viewed as bytes, and strings are validated after.
    It cuts ints off at 32 bits: so they are read as longs, and have to fit.
    """
    framed = pyruhvro.deserialize_array(values, codec.framed)
    magic, schema_ids, *columns = framed.columns
    if magic.true_count or (np.frombuffer(schema_ids.buffers()[1], ">u4", count=len(values)) != schema_id).any():
        raise ValueError("another frame")
    body = pa.RecordBatch.from_arrays(list(map(_as_type, columns, codec.arrow.types)), schema=codec.arrow)
    body.validate(full=True)
    return Block(codec, framed, body)


def write_block(codec: Codec, schema_id: int, body: pa.RecordBatch) -> list[bytes]:
    """Write one framed record a row of `body`, whose schema is `codec.arrow`; ValueError for a null where none may be."""
    for column, name in zip(body.columns, body.schema.names, strict=True):
        if _null_within(column, codec.fields[name]["type"]):
            raise ValueError(f"{name} has a null where none may be")
    # from buffers, as pyarrow imports pandas with the first value it converts, which takes a second
    magic = pa.Array.from_buffers(pa.bool_(), body.num_rows, [None, pa.py_buffer(bytes(body.num_rows // 8 + 1))])
    schema_ids = pa.Array.from_buffers(pa.float32(), body.num_rows, [None, pa.py_buffer(schema_id.to_bytes(4) * body.num_rows)])
    columns = map(_as_type, [magic, schema_ids, *body.columns], codec.framed_arrow.types)
    framed = pa.RecordBatch.from_arrays(list(columns), schema=codec.framed_arrow)
    written: list[bytes] = pyruhvro.serialize_record_batch(framed, codec.framed, 1)[0].to_pylist()
    return written


def _as_type(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The column as bytes or strings without looking into them, or as integers if they fit: ArrowInvalid, a ValueError, if not."""
    if column.type == wanted:
        return column
    return column.view(wanted) if pa.binary() in (column.type, wanted) else column.cast(wanted)


def _null_within(column: pa.Array, node: Node) -> bool:
    """Whether a null stands where the type has none; pyruhvro would write it as an empty value."""
    optional, node = nullable(node)
    if column.null_count and not optional:
        return True
    present = column.drop_null()
    match kind(node):
        case "map":
            first, last = present.offsets[0].as_py(), present.offsets[-1].as_py()
            return _null_within(present.items.slice(first, last - first), node["values"])
        case "array":
            return _null_within(present.flatten(), node["items"])
        case "record":
            return any(_null_within(present.field(field["name"]), field["type"]) for field in node["fields"])
        case _:
            return False
