"""Messages over WebSocket: a frame each, answered in order when Kafka or the spool has it, with many under way.

Commands come as frames in between, `{"command": …}`, and a device answers one by a frame with its `command_id`.
"""

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Final, NamedTuple

import orjson
from aiohttp import WSCloseCode, WSMsgType, web
from mode import Service
from pydantic import Field, ValidationError

from agents.gateway.answers import Answer
from agents.gateway.commands import slow_down_payload, told
from agents.gateway.message import Post, Source, Verdict
from schemas import json_text
from streams.assembly import App
from streams.certificates import Certificates
from streams.clock import now_ms
from streams.door import Door, Visitor
from streams.gate import RETRY_SECONDS
from streams.listening import MAX_BYTES, STOP_SECONDS, Place, binding
from streams.reaching import Reaching
from streams.requests import PROTOCOL, Item, Malformed, TooLarge, Unsupported, enter, said
from streams.worker.connections import Listening

PATH: Final = "/messages"
IN_FLIGHT: Final = 100
"""Frames of one connection that wait for their verdict; more are left in the socket, so the device feels it."""
BYTES_IN_FLIGHT: Final = 1 << 20
"""Of their payloads together; a frame of more waits until it is alone."""
# A payload in base64, and what is around it.
MOST_FRAME_BYTES: Final = MAX_BYTES * 4 // 3 + 65_536
HEARTBEAT_SECONDS: Final = 30.0
"""How soon a connection without a peer is known: ping and, half as long after, no pong."""


class Frame(Item):
    """A device's frame."""

    id: Annotated[str, Field(max_length=1_000)] | Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    """Comes back with the verdict."""


class Taken(NamedTuple):
    """A frame as it was read."""

    id: str | int | None
    message: Post | None
    answer: Answer | None = None
    """To a command."""
    problem: str = ""
    """Why it is none."""


class WebSocketListener(Service):
    """A WebSocket server of the gateway's own."""

    def __init__(self, app: App, door: Door, reaching: Reaching, certificates: Certificates, address: str) -> None:
        """Run with `app`, from after what is there already until before that stops."""
        super().__init__()
        self._door, self._reaching, self._place = door, reaching, Place.of(address)
        self._tls = certificates.context()
        self._reading: set[asyncio.Task[None]] = set()
        app.services.append(self)

    async def on_start(self) -> None:
        """Listen."""
        pages = web.Application()
        pages.router.add_get(PATH, self._connected)
        pages.on_shutdown.append(self._read_no_more)
        self._runner = web.AppRunner(pages, access_log=None, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        with binding(self._place, "HEADRACE_GATEWAY_WEBSOCKET"):
            await web.SockSite(self._runner, Listening.at(*self._place), ssl_context=self._tls).start()
        self.log.info("websocket_listening address=%s:%d tls=%s", *self._place, self._tls is not None)

    async def on_stop(self) -> None:
        """Read no more, answer what is in hand, and say good-bye."""
        await self._runner.cleanup()

    async def _read_no_more(self, _: web.Application) -> None:
        for task in self._reading:
            task.cancel()

    async def _connected(self, request: web.Request) -> web.WebSocketResponse:
        visitor = await enter(self._door, request, local=self._place.local)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=MOST_FRAME_BYTES, protocols=(PROTOCOL,))
        await socket.prepare(request)
        frames = Frames()
        reading = asyncio.create_task(_read(socket, frames))
        self._reading.add(reading)
        reading.add_done_callback(lambda _: frames.end())
        telling = asyncio.create_task(self._command(socket, visitor))
        try:
            with suppress(ConnectionError):  # the device is gone, and sends again what it has no verdict of
                await self._answer(socket, visitor, frames)
        finally:
            reading.cancel()
            telling.cancel()
            self._reading.discard(reading)
            await socket.close(code=WSCloseCode.GOING_AWAY)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, visitor: Visitor, frames: "Frames") -> None:
        """Until there is nothing more to read: what came while the gate had the last ones goes to it together."""
        while taken := await frames.take():
            messages = [each.message for each in taken if each.message is not None]
            verdicts = iter(await self._door.accept(Source.WEBSOCKET, visitor, messages) if messages else [])
            full = False
            for each in taken:
                answer: dict[str, Any] = {"id": each.id}
                if each.answer is not None:
                    answer |= await self._hear(visitor, each.answer)
                elif each.message is None:
                    answer["error"] = each.problem
                else:
                    answer["verdict"] = verdict = next(verdicts)
                    full |= verdict is Verdict.FULL
                await socket.send_str(orjson.dumps(answer).decode())
            if full:
                await socket.send_str(slow_down_payload(RETRY_SECONDS).decode())

    async def _hear(self, visitor: Visitor, answer: Answer) -> dict[str, Any]:
        device = self._door.commanded(visitor)
        if device is None or not await self._reaching.answer(device, answer):
            return {"error": f"there is no command {answer.command_id} for this device"}
        return {"verdict": Verdict.DELIVERED}

    async def _command(self, socket: web.WebSocketResponse, visitor: Visitor) -> None:
        """Tell the device what it is to do, for as long as it is connected and its credential stands."""
        device = self._door.commanded(visitor)
        if device is None:
            return
        some = asyncio.Event()
        with suppress(ConnectionError), self._reaching.line(device, some.set) as line:
            while self._door.commanded(visitor):
                at, orders = now_ms(), self._reaching.waiting(device, line)
                for order in orders:
                    await socket.send_str(orjson.dumps({"command": told(order.command)}).decode())
                    line.told.add(order.id)
                await self._reaching.sent(orders, at)
                await some.wait()
                some.clear()


class Frames:
    """What was read of one connection and is not yet answered: bounded in number and bytes."""

    def __init__(self) -> None:
        self._waiting: list[Taken] = []
        self._count = self._bytes = 0
        self._ended = False
        self._some, self._room = asyncio.Event(), asyncio.Event()

    async def put(self, frame: Taken) -> None:
        """Add one, as soon as there is room."""
        size = len(frame.message.payload) if frame.message else 0
        while self._count and (self._count >= IN_FLIGHT or self._bytes + size > BYTES_IN_FLIGHT):
            self._room.clear()
            await self._room.wait()
        self._count += 1
        self._bytes += size
        self._waiting.append(frame)
        self._some.set()

    async def take(self) -> list[Taken]:
        """All that wait, once the ones taken before are answered; empty when no more come."""
        self._count, self._bytes = len(self._waiting), sum(len(each.message.payload) for each in self._waiting if each.message)
        self._room.set()
        while not self._waiting and not self._ended:
            self._some.clear()
            await self._some.wait()
        taken, self._waiting = self._waiting, []
        return taken

    def end(self) -> None:
        """No more come."""
        self._ended = True
        self._some.set()


async def _read(socket: web.WebSocketResponse, frames: Frames) -> None:
    async for message in socket:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            await frames.put(_taken(message.data))


def _taken(data: str | bytes) -> Taken:
    named = None
    try:
        document = json_text.loads(data, around=1)
        given_id = document.get("id") if isinstance(document, dict) else None
        named = given_id if isinstance(given_id, str | int) else None
        if isinstance(document, dict) and "command_id" in document:
            given = {name: value for name, value in document.items() if name != "id"}
            return Taken(named, None, Answer.model_validate(given))
        frame = Frame.model_validate(document)
        return Taken(frame.id, frame.post())
    except ValidationError as error:
        return Taken(named, None, problem=said(error))
    except ValueError as error:
        return Taken(None, None, problem=f"the frame is not JSON: {error}")
    except (Malformed, TooLarge, Unsupported) as error:
        return Taken(named, None, problem=str(error))
