"""What a device may be called: one rule at the gate, in files, on the command line, over HTTP and in the registry."""

import re
from functools import lru_cache
from typing import Annotated, Final
from unicodedata import category

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from schemas.bounds import DEVICE_ID_BYTES
from schemas.quoting import quoted

RULE: Final = (
    f"a device's id has 1 to {DEVICE_ID_BYTES} bytes of UTF-8, no spaces, no control or invisible characters, none of / + # {{ }}, "
    "and is neither . nor .."
)
"""In words, for whoever gave another."""
# Levels and wildcards of MQTT, and the places of templates.
_SIGNS: Final = frozenset("/+#{}")
# Lists of ids are parted by spaces; nobody sees, or types, what is invisible; surrogates are no text.
_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"})
# Of other categories, but shown as nothing (Unicode's Default_Ignorable_Code_Point, and the blank of Braille), or
# noncharacters, for which MQTT brokers close the connection.
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065"
    "\u2800\u3164\ufdd0-\ufdef\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"
    + "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
    + "]"
)


@lru_cache(maxsize=65_536)
def is_device_id(text: str) -> bool:
    """Whether a device may be called so."""
    if text in ("", ".", "..") or len(text) > DEVICE_ID_BYTES:  # HTTP's paths cannot have the dots
        return False
    if _UNSEEN.search(text) or any(sign in _SIGNS or category(sign) in _CATEGORIES for sign in text):
        return False
    return len(text.encode()) <= DEVICE_ID_BYTES


def fault(text: str) -> str | None:
    """Why a device cannot be called so, in a sentence; None if it can."""
    return None if is_device_id(text) else f"{quoted(text)} cannot be: {RULE}"


def _checked(text: str) -> str:
    if wrong := fault(text):
        raise PydanticCustomError("device_id", "{wrong}", {"wrong": wrong})
    return text


DeviceId = Annotated[str, AfterValidator(_checked), Field(json_schema_extra={"minLength": 1, "maxLength": DEVICE_ID_BYTES})]
"""A field of a model that is a device's id."""
