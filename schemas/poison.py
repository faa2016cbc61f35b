"""What can be read of records some of which cannot, and what is wrong with each of those."""

from typing import Final

import polars as pl

from schemas.bulk import Block, read_block
from schemas.codec import FRAME_BYTES, Codec
from schemas.reference import read_record, write_body

LEAF_RECORDS: Final = 16
"""Blocks this small are examined record by record: fastavro takes 3 µs for one of garbage, a failed bulk read about 10 µs."""


def salvage(codec: Codec, schema_id: int, values: list[bytes]) -> tuple[pl.DataFrame, dict[int, str]]:
    """Read what can be read of records framed with one schema id.

    A frame of `row` (position in `values`) and the schema's columns, and the defect of every other position.
    """
    kept, defects = list(range(len(values))), dict[int, str]()
    try:
        block = read_block(codec, schema_id, values)
    except ValueError:
        defects = _unreadable(codec, schema_id, values)
        kept = [position for position in kept if position not in defects]
        block = read_block(codec, schema_id, [values[position] for position in kept])
    frame = pl.DataFrame(block.body).insert_column(0, pl.Series("row", kept, pl.UInt32))
    misread = {kept[at]: defect for at, defect in _inexact(codec, block, [values[position] for position in kept]).items()}
    if misread:
        frame = frame.filter(~pl.col("row").is_in(list(misread)))
    return frame, defects | misread


def _unreadable(codec: Codec, schema_id: int, values: list[bytes]) -> dict[int, str]:
    """Position and defect of every record without which the rest can be read in bulk."""
    defects: dict[int, str] = {}
    doubtful: list[int] = []
    spans = [(0, len(values))]
    while spans:
        start, stop = spans.pop()
        if stop - start > LEAF_RECORDS:
            if _bulk_defect(codec, schema_id, values[start:stop]):
                middle = (start + stop) // 2
                spans += [(middle, stop), (start, middle)]
            continue
        for position in range(start, stop):
            try:
                read_record(codec, values[position])
            except ValueError as problem:
                defects[position] = str(problem)
            else:
                doubtful.append(position)
    if _bulk_defect(codec, schema_id, [values[position] for position in doubtful]):
        each = {position: _bulk_defect(codec, schema_id, [values[position]]) for position in doubtful}
        defects |= {position: defect for position, defect in each.items() if defect}
    return defects


def _bulk_defect(codec: Codec, schema_id: int, values: list[bytes]) -> str | None:
    try:
        read_block(codec, schema_id, values)
    except ValueError as problem:
        return str(problem)
    return None


def _inexact(codec: Codec, block: Block, values: list[bytes]) -> dict[int, str]:
    """Defects of the records read in bulk that do not hold just what was read.

    Left-over bytes are a defect: under its own schema nothing follows a record. Avro leaves a writer some freedom (arrays and maps cut in
    blocks, integers longer than need be), so a record that merely is not written as we would is kept, if fastavro reads the same of it.
    """
    defects: dict[int, str] = {}
    for position, again in block.inexact(values).items():
        try:
            agreed = write_body(codec, read_record(codec, values[position])) == again[FRAME_BYTES:]
        except ValueError as problem:
            defects[position] = str(problem)
        else:
            if not agreed:
                defects[position] = "out of range"
    return defects
