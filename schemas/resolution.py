"""Which type or field of a writer's schema becomes which of a reader's, by Avro's rules of resolution."""

from collections.abc import Container, Iterator
from typing import Final

from schemas.nodes import Node, children, kind

PROMOTIONS: Final = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
}
"""Avro's promotions that a cast of columns does; bytes to string may fail by record, so it is fastavro's."""
NAMED: Final = {"record", "enum", "fixed"}


def same_name(writer: Node, reader: Node) -> bool:
    """Whether a reader's named type is a writer's: by its name without namespace, or by an alias."""
    unqualified = _unqualified(writer["name"])
    return unqualified == _unqualified(reader["name"]) or not {writer["name"], unqualified}.isdisjoint(reader.get("aliases", ()))


def written_as(field: Node, written: Container[str]) -> str | None:
    """The name under which a reader's field is among those `written`: its own, else an alias of it; None where it is missing."""
    return next((name for name in (field["name"], *field.get("aliases", ())) if name in written), None)


def unreadable(writer: Node, reader: Node) -> bool:
    """Whether some value of one type is none of the other by Avro's rules of resolution; types are expanded."""
    if kind(writer) == "union":
        return any(unreadable(branch, reader) for branch in writer)
    if kind(reader) == "union":
        return all(unreadable(writer, branch) for branch in reader)
    wrote, reads = kind(writer), kind(reader)
    if wrote != reads:
        return reads not in PROMOTIONS.get(wrote, ()) and (wrote, reads) != ("bytes", "string")
    if wrote in NAMED and not same_name(writer, reader):
        return True
    match wrote:
        case "array" | "map":
            return unreadable(*children(writer), *children(reader))
        case "enum":
            return not set(writer["symbols"]) <= set(reader["symbols"]) and "default" not in reader
        case "fixed":
            return bool(writer["size"] != reader["size"])
        case "record":
            written = {field["name"]: field["type"] for field in writer["fields"]}
            pairs = [(written_as(field, written), field) for field in reader["fields"]]
            return any(unreadable(written[name], field["type"]) if name else "default" not in field for name, field in pairs)
        case _:
            return False


def other_units(writer: Node, reader: Node, place: str = "") -> Iterator[tuple[str, str | None, str | None]]:
    """Where a value is read in another unit than it was written in (`schemas.codec.Codec.units`): place, unit written, unit read.

    Avro resolves a long as a long: microseconds would be read as milliseconds, hundredths as ten-thousandths.
    """
    if kind(writer) == "union":
        for branch in writer:
            yield from other_units(branch, reader, place)
    elif kind(reader) == "union":
        same = [branch for branch in reader if _same(writer, branch)]
        for branch in same or [branch for branch in reader if not unreadable(writer, branch)]:
            yield from other_units(writer, branch, place)
    elif kind(writer) == kind(reader) == "record":
        written = {field["name"]: field["type"] for field in writer["fields"]}
        for field in reader["fields"]:
            if name := written_as(field, written):
                yield from other_units(written[name], field["type"], f"{place}.{field['name']}".lstrip("."))
    elif kind(writer) == kind(reader) and kind(writer) in {"array", "map"}:
        (wrote,), (reads,) = children(writer), children(reader)
        yield from other_units(wrote, reads, f"{place}[]")
    elif (units := (_unit(writer), _unit(reader))) and units[0] != units[1]:
        yield place, *units


def _same(writer: Node, reader: Node) -> bool:
    return kind(writer) == kind(reader) and (kind(writer) not in NAMED or same_name(writer, reader))


def _unit(node: Node) -> str | None:
    return node.get("unit") if isinstance(node, dict) else None


def _unqualified(name: str) -> str:
    return name.rpartition(".")[2]
