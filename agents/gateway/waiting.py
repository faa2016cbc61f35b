"""Which messages wait for a schema: one that names an unknown one, and all that its device sends behind it, so that none overtakes it."""

from collections.abc import Container, Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def behind(keys: Sequence[Key], awaits: Sequence[bool], waiting: Container[Key]) -> dict[Key, list[int]]:
    """Rows that wait, by device, in their order.

    `keys`: the device of each row; `awaits`: whether its schema is not known; `waiting`: devices of which earlier ones wait.
    """
    held: dict[Key, list[int]] = {}
    for row, (key, is_awaited) in enumerate(zip(keys, awaits, strict=True)):
        if is_awaited or key in held or key in waiting:
            held.setdefault(key, []).append(row)
    return held
