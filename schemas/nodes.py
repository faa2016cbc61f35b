"""Questions asked of an Avro type as JSON gives it: a name, a union's list, or an object (a node)."""

from typing import Any, Final

import polars as pl

Node = Any
"""Avro's grammar of types is recursive JSON; named types are expanded in place unless said otherwise."""

PRIMITIVES: Final = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
    "enum": pl.String(),
    "fixed": pl.Binary(),
}
"""Column type of every type that holds no other."""


def nullable(node: Node) -> tuple[bool, Node]:
    """Whether the type is a union of null and one other, and that other (or else the type itself)."""
    if isinstance(node, list) and len(node) == 2 and "null" in node:
        return True, node[1 - node.index("null")]
    return False, node


def is_bytes(node: Node) -> bool:
    """Whether it is bytes, or bytes or null."""
    return kind(nullable(node)[1]) == "bytes"


def kind(node: Node) -> str:
    """The name of the type's kind: `long`, `record`, `union`, …."""
    if isinstance(node, list):
        return "union"
    return node if isinstance(node, str) else str(node["type"])


def children(node: Node) -> list[Node]:
    """The types directly inside a type."""
    match kind(node):
        case "union":
            return list(node)
        case "record":
            return [field["type"] for field in node["fields"]]
        case "array":
            return [node["items"]]
        case "map":
            return [node["values"]]
        case _:
            return []


def dtype(node: Node) -> pl.DataType | None:
    """The Polars type of a node; None where a union of more than null and one other has none."""
    _, node = nullable(node)
    if kind(node) == "union":
        return None
    inner = [dtype(child) for child in children(node)]
    known = [each for each in inner if each is not None]
    if len(known) < len(inner):
        return None
    match kind(node):
        case "record":
            return pl.Struct(dict(zip((field["name"] for field in node["fields"]), known, strict=True)))
        case "array":
            return pl.List(known[0])
        case "map":
            return pl.Map(pl.String(), known[0])
        case primitive:
            return PRIMITIVES[primitive]


def plain(node: Node, *kept: str) -> Node:
    """The type without documentation and other properties but those `kept`; names stay, references unexpanded.

    What may be kept is what means something to readers, `default` and `aliases`, and `unit`, which types that hold no other may have.
    """
    if isinstance(node, list):
        return [plain(branch, *kept) for branch in node]
    if isinstance(node, str):
        return node
    properties = [name for name in kept if name != "unit"]
    unit = {"unit": _unit(node)} if "unit" in kept and _unit(node) else {}
    match node["type"]:
        case "record" | "error":
            fields = [{**_kept(field, "name", *properties), "type": plain(field["type"], *kept)} for field in node["fields"]]
            return {**_kept(node, "name", "namespace", *properties), "type": "record", "fields": fields}
        case "enum" | "fixed":
            return _kept(node, "type", "name", "namespace", "symbols", "size", *properties) | unit
        case "array":
            return {"type": "array", "items": plain(node["items"], *kept)}
        case "map":
            return {"type": "map", "values": plain(node["values"], *kept)}
        case inner:
            bare = plain(inner, *kept)
            return {"type": bare} | unit if unit and isinstance(bare, str) else bare


def _unit(node: Node) -> str | None:
    """What the values count: the logical type, a decimal's with its precision and scale, which its bytes do not tell."""
    name: str | None = node.get("logicalType")
    return f"decimal({node.get('precision')}, {node.get('scale') or 0})" if name == "decimal" else name


def logical_type(node: Node) -> str | None:
    """The logical type of a type or of the other in its union with null."""
    _, node = nullable(node)
    return node.get("logicalType") if isinstance(node, dict) else None


def unbounded(node: Node) -> str | None:
    """Why a few bytes of the type could take any amount of memory or stack to read; None where they cannot."""
    if kind(node) not in {*PRIMITIVES, "union", "record", "array", "map"}:
        return f"{kind(node)} contains itself"
    if kind(node) == "array" and _empty(node["items"]):
        return "array items that take no bytes"
    return next(filter(None, map(unbounded, children(node))), None)


def _empty(node: Node) -> bool:
    match kind(node):
        case "null":
            return True
        case "record":
            return all(map(_empty, children(node)))
        case "fixed":
            return bool(node["size"] == 0)
        case _:
            return False


def _kept(node: Node, *names: str) -> Node:
    """Those properties it has; null stands for none where it is no default."""
    return {name: node[name] for name in names if name in node and (name == "default" or node[name] is not None)}
