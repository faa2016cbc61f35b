"""Foreign values in our sentences: short ones as they are, of others the kind, the size and the beginning."""

import reprlib
from collections.abc import Sized
from typing import Final

from schemas.bounds import QUOTED_LETTERS

_KINDS: Final = {dict: "an object", list: "a list", tuple: "a list", str: "a text", bytes: "bytes", bool: "a yes or no", type(None): "null"}
_LONGEST_INTEGER_BITS: Final = 256
"""Python raises ValueError for the digits of a very long one."""
_brief: Final = reprlib.Repr()
_brief.maxlevel, _brief.maxlist, _brief.maxdict, _brief.maxstring, _brief.maxother = 2, 3, 3, 60, 60


def kind(value: object) -> str:
    """What a value is, in the words of JSON."""
    return _KINDS.get(type(value), "a number")


def quoted(value: object) -> str:
    """A value in at most `QUOTED_LETTERS` characters that any encoding has; total: no value is too deep, too long or unprintable."""
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER_BITS:
        return f"an integer of {value.bit_length()} bits"
    # reprlib looks no further than two levels: repr of a value that is nested a thousand deep raises RecursionError
    text = _brief.repr(value)
    if not text.isprintable():
        text = text.encode("ascii", "backslashreplace").decode()
    if isinstance(value, Sized) and (len(value) > _brief.maxstring or "..." in text):
        text = f"{kind(value)} of {_size(value)}, {text}"
    return text if len(text) <= QUOTED_LETTERS else f"{text[: QUOTED_LETTERS - 1]}…"


def brief(text: str, most: int) -> str:
    """A text of any origin, fit for a record: cut, and what UTF-8 has no bytes for replaced."""
    return text[:most].encode("utf-8", "replace").decode()


def _size(value: Sized) -> str:
    unit = {str: "characters", bytes: "bytes", dict: "members"}.get(type(value), "items")
    return f"{len(value)} {unit if len(value) != 1 else unit[:-1]}"
