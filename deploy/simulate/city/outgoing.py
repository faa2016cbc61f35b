"""What the protocols have in common: messages to send, and how many of them nobody has answered for."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Unreachable(Exception):
    """Nobody listens where messages are to go, or nobody that lets these devices in; the text says what to do."""


class Outgoing(NamedTuple):
    """One message."""

    device: int
    number: int
    """The truth's; negative where it is not about this one."""
    topic: str
    payload: bytes
    qos: int
    readable: bool
    """Whether the payload is JSON."""


Settle = Callable[[Outgoing, str], None]
"""Told what became of a message, once for each time it was sent: a Verdict of the gateway."""


class Sender(Protocol):
    """The devices of one protocol: each one's messages go in order, and again until they are answered for."""

    async def open(self) -> None:
        """Connect. Raises Unreachable."""

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Take messages to be sent as soon as those before them allow."""

    async def reconnect(self) -> None:
        """Lose all links at once, and come again; what was not answered for is sent again first."""

    async def close(self) -> None:
        """Hang up."""


class Pending:
    """Counts messages that were sent and not answered for."""

    def __init__(self) -> None:
        self.count = 0
        self._fewer = asyncio.Event()

    def add(self, messages: int) -> None:
        """More are on their way; a negative number: fewer."""
        self.count += messages
        if messages < 0:
            self._fewer.set()

    async def at_most(self, messages: int) -> None:
        """Wait until so few are."""
        while self.count > messages:
            self._fewer.clear()
            await self._fewer.wait()
