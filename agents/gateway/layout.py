"""Binary payloads of a declared layout: fields one after another, each with a name, a type and, if its unit needs one, a scale.

    temperature:>i2/10 humidity:u1 battery_mv:>u2 sequence:<u4

is a signed big-endian integer of two bytes in tenths, a byte, and so on: NumPy's type codes (b1, i1 … i8, u1 … u8, f4, f8).
"""

import re
from typing import Any, Final

import numpy as np

_FIELD: Final = re.compile(
    r"(?P<name>[A-Za-z_][A-Za-z0-9_]{0,60}):(?P<type>[<>]?(?:i[1248]|u[1248]|f[48]|b1))(?:/(?P<divisor>[1-9]\d{0,9}))?"
)


class Layout:
    """A layout, parsed. Raises ValueError for a text that is none."""

    def __init__(self, text: str) -> None:
        found = [_FIELD.fullmatch(word) for word in text.split()]
        fields = [field for field in found if field]
        names = [field["name"] for field in fields]
        if not fields or len(fields) < len(found) or len(set(names)) < len(names):
            raise ValueError(f"{text!r} is no layout: fields like temperature:>i2/10, each name once")
        self._dtype = np.dtype([(field["name"], field["type"]) for field in fields])
        self._divisors = [int(field["divisor"] or 1) for field in fields]

    def read(self, payload: bytes) -> dict[str, Any]:
        """Its fields' values. Raises ValueError for a payload of another length, or one that has no number where one should be."""
        if len(payload) != self._dtype.itemsize:
            raise ValueError(f"{len(payload)} bytes, the layout has {self._dtype.itemsize}")
        values = np.frombuffer(payload, self._dtype)[0].item()
        numbers = zip(self._dtype.names or (), values, self._divisors, strict=True)
        document = {name: value if divisor == 1 else value / divisor for name, value, divisor in numbers}
        if wrong := next((name for name, value in document.items() if not np.isfinite(value)), None):
            raise ValueError(f"{wrong} is {document[wrong]}, not a number")
        return document
