"""Devices that ask and are answered: a queue for each connection, of which nothing overtakes what the gateway did not take."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar, Final

from agents.gateway.message import Verdict
from deploy.patience import Patience
from deploy.simulate.city.outgoing import Outgoing, Settle, Unreachable

RETRY_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 60.0
OPEN_SECONDS: Final = 8.0
"""A gateway that has just started may yet have to listen."""
FIRST_ANSWER_SECONDS: Final = 180.0
"""From one that listens: a busy machine."""


class Lost(Exception):
    """No answer came: what was sent is to be sent again."""


class Deaf(Lost):
    """Nobody listens."""


class Lane(ABC):
    """One connection, and the messages of the devices that share it."""

    at_once: ClassVar[int] = 1
    """Messages that are sent before an answer comes. Of one device no more than one request may be open, or a refused one is overtaken."""

    def __init__(self) -> None:
        self.queue: deque[Outgoing] = deque()
        self.some = asyncio.Event()
        self.wait_seconds = RETRY_SECONDS
        """What the gateway said of when to come again."""

    @abstractmethod
    async def exchange(self, messages: Sequence[Outgoing]) -> list[str]:
        """Send, and the verdict on each. Raises Lost, Unreachable."""

    @abstractmethod
    async def hang_up(self) -> None:
        """Give the connection up; the next exchange makes a new one."""

    def put(self, message: Outgoing) -> None:
        """Add one behind the others."""
        self.queue.append(message)
        self.some.set()

    async def carry(self, settle: Settle) -> None:
        """Send what is in the queue, for ever."""
        while True:
            await self.some.wait()
            sent = [*islice(self.queue, self.at_once)]
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    verdicts = await self.exchange(sent)
            except (Lost, TimeoutError):
                await self.hang_up()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            refused = []
            for message, verdict in zip(sent, verdicts, strict=True):
                self.queue.popleft()
                if verdict == Verdict.FULL:
                    refused.append(message)
                else:
                    settle(message, verdict)
            self.queue.extendleft(reversed(refused))
            if not self.queue:
                self.some.clear()
            if refused:
                await asyncio.sleep(self.wait_seconds)


class Lanes:
    """The devices of one protocol, dealt out to its lanes."""

    def __init__(self, lanes: Sequence[Lane], settle: Settle, group: asyncio.TaskGroup, where: str) -> None:
        """The lanes run in `group`, which fails with the first that is not let in; `where`: what is not reachable if it is not."""
        self._lanes, self._settle, self._group, self._where = lanes, settle, group, where
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Ask whether somebody is there, with nothing to say. Raises Unreachable."""
        deaf, silent = Patience(OPEN_SECONDS), Patience(FIRST_ANSWER_SECONDS)
        while True:
            if await self._is_there(deaf, silent):
                break
            await asyncio.sleep(RETRY_SECONDS)
        self._start()

    async def _is_there(self, deaf: Patience, silent: Patience) -> bool:
        try:
            async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                await self._lanes[0].exchange([])
        except (Lost, TimeoutError) as error:
            await self._lanes[0].hang_up()
            patience = deaf if isinstance(error, Deaf) else silent
            if not patience.lasts(None):
                raise Unreachable(f"no gateway answers at {self._where}: start one with `make worker g=gateway`") from error
            return False
        return True

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Put each message into its device's lane."""
        for message in messages:
            self._lanes[message.device % len(self._lanes)].put(message)

    async def reconnect(self) -> None:
        """Break off whatever is under way."""
        await self.close()
        self._start()

    async def close(self) -> None:
        """Stop all lanes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes:
            await lane.hang_up()

    def _start(self) -> None:
        self._tasks = [self._group.create_task(lane.carry(self._settle)) for lane in self._lanes]
