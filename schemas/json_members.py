"""Members that are there twice in an object of JSON: a parser takes the last one in silence, and the values of the others are lost."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from schemas.quoting import quoted

NESTS: Final = (dict, list)
# Group 1 is the colon behind a member's name; other texts have none.
_TEXTS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*(:))?')


def repeats(text: bytes, document: object) -> bool:
    """Whether some object of a document has a member twice; `text` is the JSON it was read from."""
    nests = text.count(b"{") + text.count(b"[")
    members = len(document) if nests == 1 and isinstance(document, dict) else _count(document)
    # each member has one colon behind its name: where there are no others the texts need not be looked through
    return text.count(b":") != members and _TEXTS.findall(text).count(b":") != members


def require_once(text: bytes) -> None:
    """Raise ValueError with the member's name, of a document that is not nested too deep for Python's parser."""
    json.loads(text.decode(), object_pairs_hook=_once)


def told_apart(text: bytes) -> list[Any]:
    """The values of a list, in the place of each with a repeated member a ValueError. Raises ValueError where it is nested too deep."""
    try:
        found = json.loads(text.decode(), object_pairs_hook=_marked)
    except RecursionError as error:
        raise ValueError("a member is there twice, in what is nested too deep to say where") from error
    return [_mark(value) or value for value in found]


def levels(document: object) -> Iterator[list[Any]]:
    """Objects and lists, level by level: recursion would end where the document decides."""
    nests = [document] if isinstance(document, NESTS) else []
    while nests:
        yield nests
        nests = [child for nest in nests for child in _children(nest) if isinstance(child, NESTS)]


def _children(nest: dict[str, Any] | list[Any]) -> Any:  # noqa: ANN401
    return nest.values() if isinstance(nest, dict) else nest


def _count(document: object) -> int:
    members, nests = 0, [document] if isinstance(document, NESTS) else []
    for nest in nests:  # which grows meanwhile: every message with a nested object comes here
        children: Any = nest
        if isinstance(nest, dict):
            members += len(nest)
            children = nest.values()
        nests += [child for child in children if isinstance(child, NESTS)]
    return members


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _twice(pairs)
    return found


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any] | ValueError:
    found = dict(pairs)
    return _twice(pairs) if len(found) < len(pairs) else found


def _twice(pairs: list[tuple[str, Any]]) -> ValueError:
    twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return ValueError(f"member {quoted(twice)} is there twice: name it once")


def _mark(value: object) -> ValueError | None:
    if isinstance(value, ValueError):
        return value
    within = (child for nests in levels(value) for nest in nests for child in _children(nest))
    return next((child for child in within if isinstance(child, ValueError)), None)
