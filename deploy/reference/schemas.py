"""The fields of every topic's records, as sections of a page."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from deploy.reference.markdown import code, escaped, paragraph, table
from schemas.catalog import CONTRACTS


def sections() -> Iterator[str]:
    """A heading, what a record is, and its fields, for each schema."""
    for name in sorted({row.schema or row.topic for row in CONTRACTS.values()}):
        schema = json.loads((files("schemas") / "avro" / f"{name}.avsc").read_text(encoding="utf-8"))
        yield f"## `{name}.avsc`"
        if "doc" in schema:
            yield paragraph(schema["doc"])
        yield table(("field", "type", "default", "meaning"), _rows(schema))


def _rows(schema: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str, str, str]]:
    for field in schema["fields"]:
        default = code(json.dumps(field["default"], ensure_ascii=False)) if "default" in field else ""
        name = f"{above}{field['name']}"
        yield code(name), _named(field["type"]), default, escaped(" ".join(field.get("doc", "").split()))
        if isinstance(field["type"], dict) and field["type"]["type"] == "record":
            yield from _rows(field["type"], f"{name}.")


def _named(of: Any) -> str:  # noqa: ANN401  # JSON
    """A type of Avro as one reads it."""
    if isinstance(of, list):
        return " or ".join(map(_named, of))
    if isinstance(of, str):
        return of
    if of["type"] == "map":
        return f"map of {_named(of['values'])}"
    if of["type"] == "array":
        return f"array of {_named(of['items'])}"
    return str(of.get("logicalType", of["type"]))
