"""The one way in: messages of every protocol, a round at a time, safe when it says so.

messages ─▶ gathered by lane ─▶ envelop ─▶ duplicates ─▶ keeping ─▶ verdicts
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from mode import Service

from agents.gateway.duplicates import Duplicates
from agents.gateway.envelopes import Delivery
from agents.gateway.message import Message, Sender, Source, Verdict
from agents.gateway.payloads import awaited
from agents.gateway.place import ENVELOPE, Place
from agents.gateway.waiting import behind
from agents.row_model import Unfit
from schemas.catalog import CONTRACTS
from streams.assembly import App
from streams.clock import now_ms
from streams.collector import of_gate
from streams.keeping import PATIENCE_SECONDS, Keeping
from streams.rounds import Round, assemble

# Under way to Kafka while the next are read: a round is what came meanwhile.
ROUNDS: Final = 8
# A round costs a millisecond, however few messages it has, here and in Kafka, as much as thirty of them do: of a lane of many they gather.
PACE_SECONDS: Final = 0.01
FEW_MESSAGES: Final = 20
ROUND_MESSAGES: Final = 5_000
"""Shared by the lanes it is of."""
HELD_MESSAGES: Final = 1_000
"""Of a lane, while its spool drains: half of what the MQTT broker sends without answers, so that other lanes' messages still come."""
STOP_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 5
"""What a device is told to wait where a verdict is FULL."""

Witness = Callable[[Source, Sequence[Message], int], None]
"""Protocol, messages, and when they came (ms)."""


class _Asked(NamedTuple):
    at: float
    delivery: Delivery
    verdicts: asyncio.Future[list[Verdict]]


class Part(NamedTuple):
    """Messages that are settled together, apart from the others that came with them."""

    rows: Sequence[int]
    """Which of the messages."""
    verdicts: asyncio.Future[list[Verdict]]
    """Of each."""


_Device = tuple[str, str]


class Gate(Service):
    """Takes messages in. What it says of one is true when it says so: Kafka has it, or the disk, synced.

    Of what is not taken, FULL, the device is to be told to send it again.
    """

    def __init__(self, app: App, place: Place, spool: Path) -> None:
        """Run with `app`; `spool`: the file."""
        super().__init__()
        self.app, self.place = app, place
        self._duplicates = Duplicates()
        self.keeping = Keeping(app, spool, self._duplicates.forget)
        self.misfits = 0
        """Messages of a lower quality of service than their mapping asks for."""
        self.witnesses: list[Witness] = []
        """Who is told of all that comes, before anything becomes of it."""
        self._asked: dict[str, list[_Asked]] = {}
        """By lane."""
        self._gathering: set[str] = set()
        """Lanes that were in a round just now, with many messages, or had better wait."""
        self._waiting: dict[_Device, asyncio.Event] = {}
        """Devices whose messages wait for a schema; the last of them sets it when it is no more behind."""
        self._late: set[asyncio.Future[list[Verdict]]] = set()
        self._open: set[asyncio.Future[list[Verdict]]] = set()
        self._some = asyncio.Event()
        self._rounds: asyncio.Queue[tuple[Round, list[_Asked]]] = asyncio.Queue(ROUNDS)
        app.writes += [contract for contract in CONTRACTS.values() if contract.codec is ENVELOPE]
        app.services.append(self)
        app.metrics.sources.append(partial(of_gate, self))

    async def accept(self, source: Source, sender: Sender, messages: Sequence[Message], lane: str = "") -> list[Verdict]:
        """Take messages in, in order; what has become of each, when all is settled. See `take`."""
        verdicts: dict[int, Verdict] = {}
        for part in self.take(source, sender, messages, lane):
            verdicts |= zip(part.rows, await part.verdicts, strict=True)
        return [verdicts[row] for row in range(len(messages))]

    def take(self, source: Source, sender: Sender, messages: Sequence[Message], lane: str = "") -> list[Part]:
        """Take messages in, in order, in parts that are settled by themselves.

        Where a schema is not known that a message names, it waits for the registry, and so does what its device sends behind it; nobody
        else does. A `lane`, the sender's tenant unless it is said, holds up no other one.
        """
        at = now_ms()
        for witness in self.witnesses:
            witness(source, messages, at)
        lane = lane or sender.tenant or self.place.tenant
        held = self._behind(sender, messages)
        if not held:
            return [Part(range(len(messages)), self._ask(Delivery(messages, source, sender, at), lane))]
        parts = [
            Part(rows, self._when_known(device, Delivery([messages[row] for row in rows], source, sender, at), lane))
            for device, rows in held.items()
        ]
        apart = {row for rows in held.values() for row in rows}
        if free := [row for row in range(len(messages)) if row not in apart]:
            parts.append(Part(free, self._ask(Delivery([messages[row] for row in free], source, sender, at), lane)))
        return parts

    def _behind(self, sender: Sender, messages: Sequence[Message]) -> Mapping[_Device, Sequence[int]]:
        """Rows of messages that are to wait, by device."""
        awaits = [self._awaited(message) is not None for message in messages]
        if not (self._waiting or any(awaits)):
            return {}
        return behind([self._device(sender, message.topic) for message in messages], awaits, self._waiting)

    def _awaited(self, message: Message) -> int | None:
        writers = self.app.writers
        return awaited(message, writers.known, writers.missing) if message.content_type else None

    def _device(self, sender: Sender, topic: str) -> _Device:
        """Whose order is to be kept; where a topic is no device's, the topic's."""
        try:
            address = self.place.address(topic, sender.tenant)
        except Unfit:
            return "", topic
        return address.tenant, address.target.device_id

    def _when_known(self, device: _Device, delivery: Delivery, lane: str) -> asyncio.Future[list[Verdict]]:
        before, gone = self._waiting.get(device), asyncio.Event()
        self._waiting[device] = gone

        async def settled() -> list[Verdict]:
            try:
                if before:
                    await before.wait()
                while unknown := {number for message in delivery.messages if (number := self._awaited(message)) is not None}:
                    await self.app.writers.fetch(unknown)
                verdicts = self._ask(delivery, lane)
            finally:
                gone.set()
                if self._waiting[device] is gone:
                    del self._waiting[device]
            return await verdicts

        late = asyncio.ensure_future(settled())
        self._late.add(late)
        late.add_done_callback(self._late.discard)
        return late

    def _ask(self, delivery: Delivery, lane: str) -> asyncio.Future[list[Verdict]]:
        asked = _Asked(time.monotonic(), delivery, asyncio.get_running_loop().create_future())
        self._open.add(asked.verdicts)
        asked.verdicts.add_done_callback(self._open.discard)
        self._asked.setdefault(lane, []).append(asked)
        if lane not in self._gathering:
            self._some.set()
        return asked.verdicts

    async def on_start(self) -> None:
        """Read by the schemas that the worker knows."""
        self.place.writers = self.app.writers.known

    async def on_stop(self) -> None:
        """Answer what is in hand; who gets no answer sends again."""
        for late in self._late - self._open:
            late.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*self._open, return_exceptions=True), STOP_SECONDS)

    @Service.task
    async def _carry(self) -> None:
        while not self.should_stop:
            await self._some.wait()
            self._some.clear()
            asked = self._due()
            if not asked:
                continue
            round_ = assemble([each.delivery for each in asked], self.place, self._duplicates, self.app.schema_ids, now_ms())
            self.misfits += round_.misfits
            await self.keeping.forward(round_)
            await self._rounds.put((round_, asked))

    def _due(self) -> list[_Asked]:
        """Take out what may go now, from each lane as much as from the others."""
        due = {lane: asked for lane, asked in self._asked.items() if lane not in self._gathering}
        for lane in [lane for lane, asked in due.items() if self._had_better_wait(lane, asked)]:
            del due[lane]
            self._gather(lane)
        taken: list[_Asked] = []
        for lane, asked in due.items():
            position = count = 0
            while position < len(asked) and count < ROUND_MESSAGES / len(due):
                count += len(asked[position].delivery.messages)
                position += 1
            taken += asked[:position]
            if left := asked[position:]:
                self._asked[lane] = left
                self._some.set()
            else:
                del self._asked[lane]
            if count > FEW_MESSAGES:
                self._gather(lane)
        return taken

    def _had_better_wait(self, lane: str, asked: Sequence[_Asked]) -> bool:
        """Whether the lane's spool is about to be empty, and it is neither long nor much that waits for that."""
        if time.monotonic() > asked[0].at + PATIENCE_SECONDS or not self.keeping.drains(lane):
            return False
        return sum(len(each.delivery.messages) for each in asked) < HELD_MESSAGES

    def _gather(self, lane: str) -> None:
        self._gathering.add(lane)
        asyncio.get_running_loop().call_later(PACE_SECONDS, self._gathered, lane)

    def _gathered(self, lane: str) -> None:
        self._gathering.discard(lane)
        if lane in self._asked:
            self._some.set()

    @Service.task
    async def _settle(self) -> None:
        """Rounds end in the order they began: a message that came twice is not confirmed before it is safe."""
        while not self.should_stop:
            round_, asked = await self._rounds.get()
            await self.keeping.confirm(round_)
            for row, mark in round_.again:
                # what it repeats may not have been taken after all
                if mark not in self._duplicates:
                    round_.verdicts[row] = Verdict.FULL
            apart = [(row, came) for row, came in round_.apart if round_.verdicts[row] is not Verdict.FULL]
            for row, came in apart:
                self.keeping.counts[round_.tenants[row]].update((came.value, "accepted"))
            for position in round_.further([row for row, _ in apart]):
                self.keeping.counts[round_.tenants[apart[position][0]]]["further"] += 1
            start = 0
            for _, delivery, verdicts in asked:
                end = start + len(delivery.messages)
                if not verdicts.done():
                    verdicts.set_result(round_.verdicts[start:end])
                start = end
