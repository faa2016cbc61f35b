"""Bounds on a text of SQL before anything parses it: what is nested, or refers to itself, costs a parser time that doubles with each level.

Polars takes 2 s for `POSITION(` twelve times and 1.3 s for BETWEEN sixteen times, each 250 characters at most; at these bounds, some
hundredths of a second.
"""

import re
from typing import Final

from agents.row_model import Unfit

MOST_CHARACTERS: Final = 1_000
"""Longer ones take Polars seconds to read (the time grows with the cube), and very long ones end the process."""
MOST_DEPTH: Final = 8
"""Brackets within brackets."""
MOST_REPEATED: Final = 8
"""BETWEEN and CASE of a text: what they compare stands several times in what is evaluated."""
_TOKEN: Final = re.compile(r"""(?:'[^']*')+|"[^"]*"|--|/\*|[\w&]+'|[\w&]+|.""", re.DOTALL)
_OTHERS: Final = ("--", "/*", "$", "`")


def bounded(field: str, text: str) -> None:
    """Raise Unfit for a text that is too long or too deep to be parsed, or has what makes its brackets hard to tell."""
    if len(text) > MOST_CHARACTERS:
        raise Unfit(field, f"{len(text)} characters are too many; there may be {MOST_CHARACTERS}")
    depth = repeated = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in _OTHERS or (token.endswith("'") and not token.startswith("'")):
            raise Unfit(field, f"{token!r} is not understood: no comments or variables, and a blank before a text in ''", found.start())
        depth += (token in "([{") - (token in ")]}")
        repeated += token.upper() in ("BETWEEN", "CASE")
        if depth > MOST_DEPTH:
            raise Unfit(field, f"is nested too deep: there may be {MOST_DEPTH} brackets within each other", found.start())
        if repeated > MOST_REPEATED:
            raise Unfit(field, f"there may be {MOST_REPEATED} of BETWEEN and CASE", found.start())
