"""Addresses in messages: people send each other logs and screens, so no password may be in one."""

import re
from typing import Final

_WHO: Final = re.compile(r"""(?<=://)[^\s/'"]*@""")


def without_passwords(text: str) -> str:
    """A sentence, an exception's for instance, without what stands before the @ of addresses in it."""
    return _WHO.sub("", text)


def shown(url: str) -> str:
    """The address without all that stands before its last @, whether or not it is a good one."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else url.rpartition("@")[2]
