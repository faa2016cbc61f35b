"""JSON of others, no deeper and no wider than the gateway takes, each member once: what is wrong with it is said with its place."""

import math
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from schemas.bounds import DEPTH, MEMBERS
from schemas.json_members import NESTS, levels, repeats, require_once, told_apart
from schemas.quoting import quoted

# orjson writes what JSON has no word for as text.
_dumps: Final = partial(orjson.dumps, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))


def loads(text: bytes | str, around: int = 0) -> Any:  # noqa: ANN401  # whatever JSON may be
    """The value of a document, with so many levels around what devices may nest. Raises ValueError, with what is wrong and where."""
    encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    document = _parsed(encoded)
    # a document has at least two bytes for each level: so hardly any has to be looked through
    if encoded.count(b"[") + encoded.count(b"{") > DEPTH + around:
        _require_shallow(document, DEPTH + around)
    _not_too_wide(document)
    if repeats(encoded, document):
        require_once(encoded)
    return document


def loads_each(text: bytes) -> Any:  # noqa: ANN401
    """The value of a document; in a list, a ValueError in the place of each value with a member that is there twice.

    Raises ValueError for what is no JSON. Neither depth nor width is looked at, as what the list holds has bounds of its own.
    """
    document = _parsed(text)
    return told_apart(text) if isinstance(document, list) and repeats(text, document) else document


def dumps(document: object) -> bytes:
    """JSON of what another format said; bytes are hexadecimal, NaN and infinities texts.

    Raises ValueError for what is no JSON, or nested too deep.
    """
    _require_shallow(document, DEPTH)
    try:
        text = _dumps(_not_too_wide(document))
        # orjson writes null for them, which says that there was no value
        return _dumps(_worded(document)) if b"null" in text else text
    except TypeError as error:  # a name that is no text, an integer of more than 64 bits
        raise ValueError(f"JSON cannot say it: {error}") from error


def number_or_text(found: float) -> float | str:
    """JSON has no word for what is no number: a text."""
    if math.isfinite(found):
        return found
    return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"


def _worded(document: object) -> object:
    """The same with a text for each float that is no number; `dumps` bounds the depth."""
    if isinstance(document, dict):
        return {name: _worded(child) for name, child in document.items()}
    if isinstance(document, list):
        return [_worded(child) for child in document]
    return number_or_text(document) if isinstance(document, float) else document


def _parsed(text: bytes) -> Any:  # noqa: ANN401
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(_where(text, error)) from error


def _where(text: bytes, error: orjson.JSONDecodeError) -> str:
    """Orjson gives no place for bytes that are not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8: {wrong.reason} at byte {wrong.start + 1}"
    return str(error)


def _require_shallow(document: object, depth: int) -> None:
    if _is_deeper(document, depth):
        members = document.items() if isinstance(document, dict) else ()
        name = next((f", at member {quoted(name)}" for name, child in members if _is_deeper(child, depth - 1)), "")
        raise ValueError(f"nested more than {depth} levels deep{name}")


def _is_deeper(document: object, depth: int) -> bool:
    return next(islice(levels(document), depth, None), None) is not None


def _not_too_wide(document: object) -> object:
    if isinstance(document, NESTS) and len(document) > MEMBERS:
        raise ValueError(f"{len(document)} members, at most {MEMBERS} are read")
    return document
