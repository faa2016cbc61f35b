"""Commands over HTTP: GET /commands?wait=<seconds> is answered when there are any, POST /commands/<command_id> says what came of one."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import orjson
from aiohttp import web
from pydantic import ValidationError

from agents.gateway.answers import Answer
from agents.gateway.commands import told
from agents.gateway.standing import Key
from schemas import json_text
from schemas.quoting import quoted
from streams.clock import now_ms
from streams.door import Door
from streams.reaching import Reaching
from streams.requests import JSON, Malformed, enter, said
from streams.worker.bodies import unpacked

LONGEST_WAIT_SECONDS: Final = 60.0
"""Proxies cut what is silent for longer."""
LOOK_SECONDS: Final = 1.0
"""How soon a wait ends whose device has gone: nobody else tells."""


class CommandPages:
    """The pages of a listener that devices ask for commands."""

    def __init__(self, door: Door, reaching: Reaching, *, local: bool) -> None:
        self._door, self._reaching, self._local = door, reaching, local
        self._waiting: set[asyncio.Event] = set()
        self._closing = False

    def mount(self, pages: web.Application) -> None:
        """Add them."""
        pages.router.add_get("/commands", self._commands)
        pages.router.add_post("/commands/{command_id}", self._answer)
        pages.on_shutdown.append(self._close)

    async def _close(self, _: web.Application) -> None:
        self._closing = True
        for some in self._waiting:
            some.set()

    async def _device(self, request: web.Request) -> Key:
        device = self._door.commanded(await enter(self._door, request, local=self._local))
        if device is None:
            text = orjson.dumps({"error": "only a device that proves who it is has commands"}).decode()
            raise web.HTTPForbidden(text=text, content_type=JSON)
        return device

    async def _commands(self, request: web.Request) -> web.Response:
        device = await self._device(request)
        wait = _seconds(request.query.get("wait", "0"))
        some = asyncio.Event()
        self._waiting.add(some)
        try:
            with self._reaching.line(device, some.set), suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    while not (self._reaching.waiting(device) or self._closing or _is_gone(request)):
                        some.clear()
                        with suppress(TimeoutError):
                            async with asyncio.timeout(LOOK_SECONDS):
                                await some.wait()
        finally:
            self._waiting.discard(some)
        device = await self._device(request)
        orders = [] if _is_gone(request) else self._reaching.waiting(device)
        await self._reaching.sent(orders, now_ms())
        return web.Response(body=orjson.dumps({"commands": [told(order.command) for order in orders]}), content_type=JSON)

    async def _answer(self, request: web.Request) -> web.Response:
        device = await self._device(request)
        try:
            given = json_text.loads(await unpacked(request))
            answer = Answer.model_validate({**given, "command_id": request.match_info["command_id"]} if isinstance(given, dict) else given)
        except ValidationError as error:
            raise Malformed(said(error)) from error
        except ValueError as error:
            raise Malformed(f"the body is not JSON: {error}") from error
        if not await self._reaching.answer(device, answer):
            text = orjson.dumps({"error": f"there is no command {answer.command_id} for {device[1]}"}).decode()
            raise web.HTTPNotFound(text=text, content_type=JSON)
        return web.Response(body=orjson.dumps({"status": answer.outcome}), status=HTTPStatus.ACCEPTED, content_type=JSON)


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _seconds(text: str) -> float:
    """A time to wait. Raises Malformed: not a number would stop the event loop's other timers."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 0 <= seconds < float("inf"):
        raise Malformed(f"wait is a number of seconds, 0 or more, not {quoted(text)}")
    return min(seconds, LONGEST_WAIT_SECONDS)
