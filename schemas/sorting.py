"""Values of a contract's fields, as a self-describing format gives them, to the contract's columns: a row or a reject for each record."""

from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, Final

import polars as pl
import pyarrow as pa

from schemas.codec import Codec
from schemas.evolution import default
from schemas.nodes import Node, dtype, kind, nullable
from schemas.quoting import quoted
from schemas.rejects import Reason, Reject
from schemas.wire import Decoded

ABSENT: Final = object()
"""Stands for a value that the record does not have."""

Check = Callable[[Any], bool]

_TYPES: Final[Mapping[str, Set[type]]] = {
    "boolean": {bool},
    "float": {float, int},
    "double": {float, int},
    "string": {str},
    "bytes": {bytes},
}
"""Python's types of a value, exactly: JSON's true is an int to isinstance."""
_BITS: Final = {"int": 31, "long": 63}
_WANTED: Final = {"int": "an integer of 32 bits", "long": "an integer of 64 bits", "map": "an object of strings", "string": "a string"}


def sort_out(reader: Codec, rows: Sequence[int], found: Mapping[str, Sequence[Any]], unread: Sequence[Reject], given: Set[str]) -> Decoded:
    """Sort out records, at `rows` of their batch, of which each field's value was `found`; `unread` are the batch's other records.

    A field that is ABSENT takes its default, or is null if it is `given` from elsewhere. Nothing else is filled in and nothing converted.
    """
    checks = checks_of(reader)
    refused: dict[int, Reject] = {}
    for name, field in reader.fields.items():
        fits = checks[name]
        for at, value in enumerate(found[name]):
            if not (fits(value) or at in refused or (value is ABSENT and (name in given or "default" in field))):
                refused[at] = Reject(rows[at], *_problem(field, value))
    kept = [at for at in range(len(rows)) if at not in refused]
    columns = [_column(field, [found[name][at] for at in kept]) for name, field in reader.fields.items()]
    frame = pl.DataFrame([pl.Series("row", [rows[at] for at in kept], pl.UInt32), *columns])
    return Decoded(frame, sorted([*unread, *refused.values()], key=lambda reject: reject.row), frozenset())


@lru_cache(maxsize=64)
def checks_of(reader: Codec) -> Mapping[str, Check]:
    """Whether a value is one of the field's type, by field. Raises ValueError for a schema with more than primitives and maps of them."""
    return {name: _check(field["type"]) for name, field in reader.fields.items()}


def _check(node: Node) -> Check:
    optional, node = nullable(node)
    name = kind(node)
    if optional:
        fits = _check(node)
        return lambda value: value is None or fits(value)
    if name == "map":
        inner = _check(node["values"])
        return lambda value: type(value) is dict and all(map(inner, value.values()))
    if name in _BITS:
        bound = 2 ** _BITS[name]
        return lambda value: type(value) is int and -bound <= value < bound
    if name not in _TYPES:
        raise ValueError(f"{name} is read from Avro only")
    types = _TYPES[name]
    return lambda value: type(value) in types


def _problem(field: Node, value: Any) -> tuple[Reason, str]:  # noqa: ANN401
    if value is None or value is ABSENT:
        return Reason.NULL_FIELD, f"{field['name']} is {'missing' if value is ABSENT else 'null'}"
    return (
        Reason.INCOMPATIBLE_SCHEMA,
        f"{field['name']} is {quoted(value)}, {_WANTED.get(kind(nullable(field['type'])[1]), 'a number')} is needed",
    )


def _column(field: Node, values: list[Any]) -> pl.Series:
    missing = default(field) if "default" in field else None
    values = [missing if value is ABSENT else value for value in values]
    if kind(field["type"]) != "map":
        return pl.Series(field["name"], values, dtype(field["type"]))
    # Polars takes 100 times as long for dicts
    offsets, keys, entries = [0], list[str](), list[Any]()
    for value in values:
        keys += value.keys()
        entries += value.values()
        offsets.append(len(keys))
    inner = pl.Series(entries, dtype=dtype(field["type"]["values"])).to_arrow(compat_level=pl.CompatLevel.oldest())
    made = pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(keys, pa.string()), inner)
    return pl.Series(field["name"], pl.from_arrow(made))
