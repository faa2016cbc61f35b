"""One Avro record schema in the forms the wire needs: fastavro's, pyruhvro's and the columns its records become."""

import json
from typing import Any, Final

import fastavro
import polars as pl
import pyarrow as pa
import pyruhvro
from fastavro.schema import SchemaParseException, UnknownType, expand_schema

from schemas.nodes import PRIMITIVES, Node, children, dtype, is_bytes, kind, logical_type, nullable, plain, unbounded

FRAME_BYTES: Final = 5
"""The Confluent frame: a zero byte and the schema id, big-endian."""
GREATEST_SCHEMA_ID: Final = 2**31 - 1
"""A registry's ids are positive Java ints; none need be asked for another."""
FRAME_FIELDS: Final = ({"name": "frame_magic__", "type": "boolean"}, {"name": "frame_schema_id__", "type": "float"})
"""The frame put as Avro: a boolean is one byte, a float four. So whole batches are read and written framed, with nothing cut or glued."""


_UNUSABLE: Final = (SchemaParseException, UnknownType, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What a schema raises that is none, or that cannot be used."""


class Codec:
    """An Avro record schema, parsed once: a contract's own, or a writer's from the registry.

    Logical types stay the integers, strings or bytes they travel as: a timestamp in milliseconds is an Int64 of milliseconds.
    Enums become strings, maps `pl.Map`. Never raises: a schema by which no record can be read says so in `defect`.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.defect: str | None = None
        """Why no record is read by this schema; None for a usable one."""
        self.name = ""
        """The record's name, without namespace."""
        self.unfit: str | None = None
        """Why it does not read what other schemas wrote, such as a default that does not fit: it may be a writer's still."""
        self.written: Node = None
        """For fastavro, to read what this schema wrote: without defaults and aliases, which mean something to readers alone."""
        self.parsed: Node = None
        """For fastavro, to write, and to read what other schemas wrote."""
        self.fields: dict[str, dict[str, Any]] = {}
        """Field by name, its type expanded and without logical types."""
        self.units: Node = None
        """The record's type once more, each type inside with its `unit` where it has one."""
        self.logical_types: dict[str, str | None] = {}
        """Logical type by field name."""
        self.columns: pl.Schema | None = None
        """What the records become; None where a union has no column type."""
        self.flat = False
        """Whether every field is a primitive, or one or null."""
        self.framed: str | None = None
        """For pyruhvro: the frame as two leading fields, bytes as strings, ints as longs; None where it cannot take the schema."""
        self.framed_arrow: pa.Schema = None
        """The columns pyruhvro reads and writes by `framed`."""
        self.arrow: pa.Schema = None
        """`columns` in Arrow's types: `framed_arrow` without the frame, with bytes as bytes and ints as ints."""
        try:
            source = json.loads(text)
            bare = plain(source)
            self.written = fastavro.parse_schema(bare)
            record: Node = expand_schema(bare)
            self.defect = unbounded(record) if kind(record) == "record" and record["fields"] else "not a record with fields"
        except _UNUSABLE as problem:
            self.defect = f"{type(problem).__name__}: {problem}"
        self.unfit = self.defect
        if self.defect is None:
            self.name = record["name"].rpartition(".")[2]
            try:
                self._prepare_reader(source, "default", "aliases")
            except _UNUSABLE as problem:
                self.unfit = f"{type(problem).__name__}: {problem}"
                self._prepare_reader(source)
            self.logical_types = {field["name"]: logical_type(field["type"]) for field in source["fields"]}
            self.flat = all(kind(nullable(field["type"])[1]) in PRIMITIVES.keys() - {"enum", "fixed"} for field in self.fields.values())
            becomes = dtype(record)
            if isinstance(becomes, pl.Struct):
                self.columns = pl.Schema(becomes)
            if all(_in_bulk(field["type"]) or is_bytes(field["type"]) for field in self.fields.values()):
                self._prepare_bulk(bare)

    def _prepare_reader(self, source: Node, *kept: str) -> None:
        text = plain(source, *kept)
        self.parsed = fastavro.parse_schema(text)
        record: Node = expand_schema(text)
        self.fields = {field["name"]: field for field in record["fields"]}
        self.units = expand_schema(plain(source, "unit", *(name for name in kept if name == "aliases")))

    def _prepare_bulk(self, bare: Node) -> None:
        fields = [{"name": field["name"], "type": _bytes_as_string(field["type"])} for field in bare["fields"]]
        framed = json.dumps({**bare, "fields": [*FRAME_FIELDS, *map(_int_as_long, fields)]})
        try:
            self.framed_arrow = pyruhvro.avro_to_arrow_schema(framed)
            arrow = pyruhvro.avro_to_arrow_schema(json.dumps({**bare, "fields": fields}))
        except ValueError:  # stricter about names than fastavro
            return
        self.framed = framed
        self.arrow = pa.schema([each.with_type(pa.binary()) if is_bytes(self.fields[each.name]["type"]) else each for each in arrow])


def _in_bulk(node: Node) -> bool:
    """Whether pyruhvro reads the type as a column Polars takes: not bytes, fixed, records without fields, other unions than with null."""
    _, node = nullable(node)
    within = children(node)
    return kind(node) not in {"null", "bytes", "fixed", "union"} and all(map(_in_bulk, within)) and (kind(node) != "record" or bool(within))


def _bytes_as_string(node: Node) -> Node:
    if not is_bytes(node):
        return node
    return ["string" if branch == "bytes" else branch for branch in node] if isinstance(node, list) else "string"


def _int_as_long(node: Node) -> Node:
    """The same bytes with every int read as a long: pyruhvro would cut an int off at 32 bits."""
    if isinstance(node, list):
        return [_int_as_long(branch) for branch in node]
    if isinstance(node, dict):
        inside = {key: _int_as_long(node[key]) for key in ("type", "items", "values", "fields") if key in node}
        return {**node, **inside}
    return "long" if node == "int" else node
