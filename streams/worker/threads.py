"""Threads of its own for each kind of work: what is slow of one kind holds up no other, and what waits for a turn is bounded."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Busy(Exception):
    """More of one kind of work is wanted at once than is taken."""


class Threads:
    """So many threads, started when they are first needed."""

    def __init__(self, name: str, count: int = 1, most: int = 1_000) -> None:
        """`most` is how much may be under way or wait for a turn."""
        self._name, self._most = name, most
        self._pool = ThreadPoolExecutor(count, name)
        self._wanted = 0

    async def run(self, work: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs) -> Made:
        """What the work gives or raises. Raises Busy."""
        if self._wanted >= self._most:
            raise Busy(f"{self._wanted} {self._name} are being answered or wait for it")
        self._wanted += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))
        finally:
            self._wanted -= 1
