"""What changes from one schema of a topic to the next, field by field, and what that means for those who read and write it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.codec import Codec
from schemas.nodes import Node, children, kind
from schemas.resolution import other_units, same_name, unreadable, written_as

_BEHIND = "older readers cannot read newer records: bring readers up to date before writers"

_OTHER_UNIT = "the same numbers would mean something else: make a new field"
_AS_THEY_ARE = "values are read as they are: one of the schemas does not say what they count"


@dataclass(frozen=True)
class Change:
    """One difference. `breaks`: the newer schema cannot read every record of the older one (it is not BACKWARD)."""

    field: str
    what: str
    means: str
    breaks: bool = False


def changes(old: Codec, new: Codec) -> list[Change]:
    """What differs, in the order of the newer schema's fields, then those it dropped. Documentation does not count."""
    if defect := old.defect or new.unfit:
        return [Change("", "unreadable", defect, breaks=True)]
    found = [*_renamed(old, new)]
    was, now = _fields(old), _fields(new)
    read = {name: written_as(field, was) for name, field in now.items()}
    for name, field in now.items():
        source = read[name]
        found += _changed(source, field, old, new) if source else [_added(name, field)]
    return found + [_dropped(name, field) for name, field in was.items() if name not in read.values()]


def _fields(codec: Codec) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in json.loads(codec.text)["fields"]}


def _unit_of(codec: Codec, name: str) -> Node:
    return next(field["type"] for field in codec.units["fields"] if field["name"] == name)


def _added(name: str, field: Node) -> Change:
    if "default" not in field:
        return Change(name, "added without a default", "older records cannot be read: give it a default", breaks=True)
    return Change(
        name, f"added, {_type(field['type'])}", f"older records are read with {_text(field['default'])}; older readers pass over it"
    )


def _dropped(name: str, field: Node) -> Change:
    behind = f"older readers read newer records with {_text(field['default'])}" if "default" in field else _BEHIND
    return Change(name, "dropped", f"passed over in older records; {behind}")


def _renamed(old: Codec, new: Codec) -> Iterator[Change]:
    was, now = old.written["name"], new.parsed["name"]
    if not same_name(old.written, new.parsed):
        yield Change("", f"{was} → {now}", "a record of another name is another record: name the old one among its aliases", breaks=True)
    elif old.name != new.name:
        behind = "" if same_name(new.written, old.parsed) else f"; {_BEHIND}"
        yield Change("", f"{was} → {now}", f"older records are read as {new.name}, by its alias{behind}")
    elif was != now:
        yield Change("", f"{was} → {now}", "records are told apart by their name alone, so all are read as before")


def _changed(source: str, now: Node, old: Codec, new: Codec) -> Iterator[Change]:
    """Changes of a field that an older record has, as `source`."""
    name, was = now["name"], _fields(old)[source]
    before, after = old.fields[source]["type"], new.fields[name]["type"]
    if name != source:
        behind = "" if written_as(was, new.fields) else f"; {_BEHIND}"
        yield Change(name, f"renamed from {source}", f"older records' {source} is read as it{behind}")
    if before != after:
        what = f"{_type(before)} → {_type(after)}" if _type(before) != _type(after) else f"{_type(after)} changed inside"
        if unreadable(before, after):
            yield Change(name, what, "older records cannot be read: make a new field, or a new topic", breaks=True)
        else:
            yield Change(name, what, f"older records are read as {_type(after)}" + (f"; {_BEHIND}" if unreadable(after, before) else ""))
    for place, *units in other_units(_unit_of(old, source), _unit_of(new, name), name):
        what = f"{units[0] or 'no unit'} → {units[1] or 'no unit'}"
        yield Change(place, what, _OTHER_UNIT if all(units) else _AS_THEY_ARE, breaks=all(units))
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
