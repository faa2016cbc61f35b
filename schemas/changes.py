"""What changes from one schema of a topic to the next, field by field, and what that means for those who read and write it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.codec import Codec
from schemas.evolution import PROMOTIONS
from schemas.nodes import Node, children, kind

_BEHIND = "older readers cannot read newer records: bring readers up to date before writers"


@dataclass(frozen=True)
class Change:
    """One difference. `breaks`: the newer schema cannot read every record of the older one (it is not BACKWARD)."""

    field: str
    what: str
    means: str
    breaks: bool = False


def changes(old: Codec, new: Codec) -> list[Change]:
    """What differs, in the order of the newer schema's fields, then those it dropped. Documentation does not count."""
    if defect := old.defect or new.defect:
        return [Change("", "unreadable", defect, breaks=True)]
    found: list[Change] = []
    if old.name != new.name:
        found.append(Change("", f"{old.name} → {new.name}", "a record of another name is another record", breaks=True))
    was, now = _fields(old), _fields(new)
    for name, field in now.items():
        found += _changed(name, was[name], field, old, new) if name in was else [_added(name, field)]
    return found + [_dropped(name, field) for name, field in was.items() if name not in now]


def unreadable(writer: Node, reader: Node) -> bool:
    """Whether some value of one type is none of the other by Avro's rules of resolution; types expanded and without logical types."""
    if kind(writer) == "union":
        return any(unreadable(branch, reader) for branch in writer)
    if kind(reader) == "union":
        return all(unreadable(writer, branch) for branch in reader)
    wrote, reads = kind(writer), kind(reader)
    if wrote != reads:
        return reads not in PROMOTIONS.get(wrote, ()) and (wrote, reads) != ("bytes", "string")
    match wrote:
        case "array" | "map":
            return unreadable(*children(writer), *children(reader))
        case "enum":
            return not set(writer["symbols"]) <= set(reader["symbols"]) and "default" not in reader
        case "fixed":
            return bool(writer["size"] != reader["size"])
        case "record":
            written = {field["name"]: field["type"] for field in writer["fields"]}
            return any(
                unreadable(written[field["name"]], field["type"]) if field["name"] in written else "default" not in field
                for field in reader["fields"]
            )
        case _:
            return False


def _fields(codec: Codec) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in json.loads(codec.text)["fields"]}


def _added(name: str, field: Node) -> Change:
    if "default" not in field:
        return Change(name, "added without a default", "older records cannot be read: give it a default", breaks=True)
    return Change(
        name, f"added, {_type(field['type'])}", f"older records are read with {_text(field['default'])}; older readers pass over it"
    )


def _dropped(name: str, field: Node) -> Change:
    behind = f"older readers read newer records with {_text(field['default'])}" if "default" in field else _BEHIND
    return Change(name, "dropped", f"passed over in older records; {behind}")


def _changed(name: str, was: Node, now: Node, old: Codec, new: Codec) -> Iterator[Change]:
    before, after = old.fields[name]["type"], new.fields[name]["type"]
    if before != after:
        what = f"{_type(before)} → {_type(after)}"
        if unreadable(before, after):
            yield Change(name, what, "older records cannot be read: make a new field, or a new topic", breaks=True)
        else:
            yield Change(name, what, f"older records are read as {_type(after)}" + (f"; {_BEHIND}" if unreadable(after, before) else ""))
    units = old.logical_types[name], new.logical_types[name]
    if units[0] != units[1]:
        what = f"{units[0] or 'no unit'} → {units[1] or 'no unit'}"
        yield Change(name, what, "the same numbers would mean something else: make a new field", breaks=all(units))
    if was.get("default") != now.get("default") or ("default" in was) != ("default" in now):
        said = [_text(field["default"]) if "default" in field else "none" for field in (was, now)]
        yield Change(name, f"default {said[0]} → {said[1]}", "read in records that lack it", breaks=False)
    numbers = was.get("field_number"), now.get("field_number")
    if numbers[0] != numbers[1]:
        what = f"Protobuf's field number {numbers[0] or 'none'} → {numbers[1] or 'none'}"
        yield Change(name, what, "devices know it by its number" if numbers[0] else "devices may write it", breaks=numbers[0] is not None)


def _type(node: Node) -> str:
    match kind(node):
        case "union":
            return " or ".join(map(_type, node))
        case "map" | "array" as name:
            return f"{name} of {_type(*children(node))}"
        case "record" | "enum" | "fixed" as name:
            return f"{name} {node['name'].rpartition('.')[2]}"
        case name:
            return name if isinstance(node, str) or isinstance(node["type"], str) else _type(node["type"])


def _text(default: object) -> str:
    return json.dumps(default, ensure_ascii=False)
