"""A writer's columns made the reader's, for producers older or newer than the consumer."""

from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from schemas.codec import Codec
from schemas.nodes import PRIMITIVES, Node, children, dtype, kind, nullable
from schemas.rejects import Reason, Reject
from schemas.resolution import PROMOTIONS, other_units, same_name, written_as


class Incompatible(Exception):
    """No record of the writer's schema can be read by the reader's."""


@dataclass(frozen=True, slots=True)
class Projection:
    """How a writer's columns become the reader's."""

    columns: tuple[pl.Expr, ...]
    """One for each field of the reader, in its order."""
    required: tuple[str, ...]
    """Fields the writer may leave null and the reader may not."""
    identity: bool
    """The writer's columns are the reader's already."""

    def apply(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[Reject]]:
        """Take `row` and the writer's columns, give `row` and the reader's, and a reject for each row with a null where none may be."""
        if self.identity:
            return frame, []
        rejects: list[Reject] = []
        for name in self.required:
            empty = frame.get_column(name).is_null()
            rejects += [Reject(row, Reason.NULL_FIELD, f"{name} is null") for row in frame.filter(empty).get_column("row")]
            frame = frame.filter(~empty)
        return frame.select("row", *self.columns), rejects


@lru_cache(maxsize=1024)
def project(writer: Codec, reader: Codec) -> Projection | None:
    """The projection of a writer's columns on a reader's; None where fastavro has to tell, record by record. Raises Incompatible."""
    if writer.defect:
        raise Incompatible(writer.defect)
    if not same_name(writer.written, reader.parsed):
        raise Incompatible(f"the writer's record is {writer.name}, the reader's {reader.name}")
    for place, wrote, reads in other_units(writer.units, reader.units):
        if wrote and reads:
            raise Incompatible(f"{place} was written as {wrote}, which is not read as {reads}")
    columns: list[pl.Expr] = []
    required: list[str] = []
    for name, field in reader.fields.items():
        if source := written_as(field, writer.fields):
            optional, wrote = nullable(writer.fields[source]["type"])
            may_be_null, reads = nullable(field["type"])
            if _shape(wrote) != _shape(reads) and kind(reads) not in PROMOTIONS.get(kind(wrote), ()):
                return None
            if optional and not may_be_null:
                required.append(source)
            column = pl.col(source).cast(PRIMITIVES[kind(reads)]) if kind(wrote) != kind(reads) else pl.col(source)
            columns.append(column.alias(name))
        elif "default" in field:
            columns.append(pl.lit(pl.Series(name, [default(field)], dtype(field["type"]))).first().alias(name))
        else:
            raise Incompatible(f"the writer has no field {name}, and it has no default")
    identity = not required and writer.columns is not None and list(writer.columns.items()) == list((reader.columns or {}).items())
    return Projection(tuple(columns), tuple(required), identity)


def _shape(node: Node) -> Node:
    """What two types must share to become the same column with the same values; where they do not, fastavro looks for aliases."""
    match kind(node):
        case "record":
            return node["name"].rpartition(".")[2], {field["name"]: _shape(field["type"]) for field in node["fields"]}
        case "enum":
            return node["name"].rpartition(".")[2], node["symbols"]
        case "array" | "map" | "union":
            return kind(node), [_shape(child) for child in children(node)]
        case primitive:
            return primitive


def default(field: Node) -> Node:
    """A default as a value: JSON holds bytes as a string of code points; a union's default is of its first type."""
    first = field["type"][0] if isinstance(field["type"], list) else field["type"]
    return field["default"].encode("latin-1") if first == "bytes" else field["default"]
