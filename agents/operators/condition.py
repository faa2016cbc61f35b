"""What a condition of the code says, as people write one."""

import re
from typing import Final

import polars as pl

_PLAINER: Final = (
    (re.compile(r"dyn (int|float): "), ""),
    (re.compile(r'col\("(\w+)"\)'), r"\1"),
    (re.compile(r'(?<!\w)\(([-\w.]+|"[^"]*")\)'), r"\1"),
)
"""A literal without its type, a column by its name, and neither in brackets."""
_BRACKETS: Final = re.compile(r"\(\[([^\[\]]*)\]\)")
_AROUND: Final = re.compile(r"\[([^\[\]]*)\]")


def text(condition: pl.Expr) -> str:
    """The condition in one line: Polars' own text without its types and with brackets only where something is in them."""
    told = " ".join(str(condition).split())
    for pattern, plainer in _PLAINER:
        told = pattern.sub(plainer, told)
    while (inner := _BRACKETS.sub(r"(\1)", told)) != told:
        told = inner
    return whole[1] if (whole := _AROUND.fullmatch(told)) else told
