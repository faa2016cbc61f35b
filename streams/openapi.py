"""An OpenAPI document as a page to read, which needs nothing from anywhere else."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any


def page(document: Mapping[str, Any]) -> str:
    """Every question of the document with what it takes, as HTML; those that can be asked by their address alone are links."""
    title = escape(document["info"]["title"])
    questions = (
        f"<h2>{method.upper()} {_address(path, method, operation)}</h2><p>{escape(operation['summary'])}</p>{_table(operation)}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    return f"{_head(title)}{''.join(questions)}</html>"


def home(title: str, paths: Sequence[str]) -> str:
    """The first page of a worker: a link to each path, or its text where something has to be filled in."""
    links = "".join(f"<li>{_address(path, 'get', {'parameters': []})}" for path in paths)
    return f"{_head(escape(title))}<ul>{links}</ul></html>"


def _head(title: str) -> str:
    return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'


def _address(path: str, method: str, operation: Mapping[str, Any]) -> str:
    """A link, unless something has to be filled in."""
    needed = "{" in path or method != "get" or any(parameter["required"] for parameter in operation["parameters"])
    return escape(path) if needed else f'<a href="{escape(path)}">{escape(path)}</a>'


def _table(operation: Mapping[str, Any]) -> str:
    rows = [
        "".join(f"<td>{escape(cell)}" for cell in (name, "needed" if required else _default(about), meaning, _values(about)))
        for name, required, meaning, about in _fields(operation)
    ]
    return f"<table><tr><th>name<th>default<th>meaning<th>values<tr>{'<tr>'.join(rows)}</table>" if rows else ""


def _default(about: Mapping[str, Any]) -> str:
    return "" if about.get("default") is None else str(about["default"])


def _values(about: Mapping[str, Any]) -> str:
    bounds = [f"{word} {about[name]:,}" for name, word in {"minimum": "from", "maximum": "to"}.items() if name in about]
    return ", ".join(about.get("enum", bounds))


def _fields(operation: Mapping[str, Any]) -> Iterator[tuple[str, bool, str, Mapping[str, Any]]]:
    for parameter in operation["parameters"]:
        yield parameter["name"], parameter["required"], parameter["description"], parameter["schema"]
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        for name, about in body["properties"].items():
            yield name, name in body.get("required", ()), about.get("description", ""), about
