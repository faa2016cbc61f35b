"""JSON of others, no deeper and no wider than the gateway takes: what is wrong with it is said with its place."""

from functools import partial
from typing import Any, Final

import orjson

from schemas.bounds import DEPTH, MEMBERS
from schemas.quoting import quoted

_NESTS: Final = (dict, list)
# orjson writes what JSON has no word for as text.
_dumps: Final = partial(orjson.dumps, default=lambda value: value.hex() if isinstance(value, bytes) else str(value))


def loads(text: bytes | str) -> Any:  # noqa: ANN401  # whatever JSON may be
    """The value of a document. Raises ValueError, with what is wrong and where."""
    encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        document = orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise ValueError(_where(encoded, error)) from error
    # a document has at least two bytes for each level: so hardly any has to be looked through
    if encoded.count(b"[") + encoded.count(b"{") > DEPTH:
        _require_shallow(document)
    return _not_too_wide(document)


def dumps(document: object) -> bytes:
    """JSON of what another format said; bytes are hexadecimal. Raises ValueError for what is no JSON, or nested too deep."""
    _require_shallow(document)
    try:
        return _dumps(_not_too_wide(document))
    except TypeError as error:  # a name that is no text, an integer of more than 64 bits
        raise ValueError(f"JSON cannot say it: {error}") from error


def _where(text: bytes, error: orjson.JSONDecodeError) -> str:
    """Orjson gives no place for bytes that are not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8: {wrong.reason} at byte {wrong.start + 1}"
    return str(error)


def _require_shallow(document: object) -> None:
    if _is_deeper(document, DEPTH):
        members = document.items() if isinstance(document, dict) else ()
        name = next((f", at member {quoted(name)}" for name, child in members if _is_deeper(child, DEPTH - 1)), "")
        raise ValueError(f"nested more than {DEPTH} levels deep{name}")


def _is_deeper(document: object, levels: int) -> bool:
    # a loop over levels: recursion would end where the document decides
    nests = [document] if isinstance(document, _NESTS) else []
    for _ in range(levels):
        within = (nest.values() if isinstance(nest, dict) else nest for nest in nests)
        nests = [child for children in within for child in children if isinstance(child, _NESTS)]
    return bool(nests)


def _not_too_wide(document: object) -> object:
    if isinstance(document, _NESTS) and len(document) > MEMBERS:
        raise ValueError(f"{len(document)} members, at most {MEMBERS} are read")
    return document
