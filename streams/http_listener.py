"""Messages over HTTP: POST one to /messages/<topic>, or several as JSON to /messages; the answer comes when Kafka or the spool has them."""

from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from mode import Service

from agents.gateway.message import Post, Source, Verdict
from schemas import json_text
from streams.assembly import App
from streams.certificates import Certificates
from streams.door import Door
from streams.gate import RETRY_SECONDS
from streams.http_commands import CommandPages
from streams.listening import MAX_BYTES, STOP_SECONDS, Place, binding
from streams.reaching import Reaching
from streams.requests import JSON, Item, Malformed, TooLarge, Unsupported, enter, post, taken
from streams.worker.bodies import ENCODINGS, Unreadable, unpacked
from streams.worker.connections import Listening

MOST_BYTES: Final = 4 << 20
"""Of a batch: reading it holds up the others for some ten milliseconds."""
MOST_MESSAGES: Final = 5_000
_ACCEPTED: Final = {"Accept-Encoding": ", ".join(sorted(ENCODINGS))}
PROPERTY: Final = "headrace-"
"""Request headers of this prefix become the message's, without it and in small letters."""


class HttpListener(Service):
    """An HTTP server of the gateway's own; the worker's pages are elsewhere."""

    def __init__(self, app: App, door: Door, reaching: Reaching, certificates: Certificates, address: str) -> None:
        """Run with `app`, from after what is there already until before that stops."""
        super().__init__()
        self._door, self._place = door, Place.of(address)
        self._commands = CommandPages(door, reaching, local=self._place.local)
        self._tls = certificates.context()
        app.services.append(self)

    async def on_start(self) -> None:
        """Listen."""
        pages = web.Application(client_max_size=MOST_BYTES, middlewares=[_said_in_json])
        pages.router.add_post("/messages", self._batch)
        pages.router.add_post("/messages/{topic:.+}", self._single)
        self._commands.mount(pages)
        self._runner = web.AppRunner(pages, access_log=None, shutdown_timeout=STOP_SECONDS, auto_decompress=False)
        await self._runner.setup()
        with binding(self._place, "HEADRACE_GATEWAY_HTTP"):
            await web.SockSite(self._runner, Listening.at(*self._place), ssl_context=self._tls).start()
        self.log.info("http_listening address=%s:%d tls=%s", *self._place, self._tls is not None)

    async def on_stop(self) -> None:
        """Take nothing more, and answer what is in hand."""
        await self._runner.cleanup()

    async def _single(self, request: web.Request) -> web.Response:
        visitor = await enter(self._door, request, local=self._place.local)
        if (request.content_length or 0) > MAX_BYTES:
            raise TooLarge(f"{request.content_length} bytes, at most {MAX_BYTES} are taken")
        headers = {name[len(PROPERTY) :].lower(): text for name, text in request.headers.items() if name.lower().startswith(PROPERTY)}
        if key := request.headers.get("Idempotency-Key"):
            headers["message_id"] = key
        message = post(request.match_info["topic"], await unpacked(request), request.headers.get("Content-Type", ""), headers)
        (verdict,) = await self._door.accept(Source.HTTP, visitor, [message])
        return self._answer([verdict], {"verdict": verdict})

    async def _batch(self, request: web.Request) -> web.Response:
        visitor = await enter(self._door, request, local=self._place.local)
        try:
            given = json_text.loads_each(await unpacked(request))
        except ValueError as error:
            raise Malformed(f"the body is not JSON: {error}") from error
        if not isinstance(given, list):
            raise Malformed("a batch is a list of messages")
        if len(given) > MOST_MESSAGES:
            raise TooLarge(f"{len(given)} messages, at most {MOST_MESSAGES} are taken at once")
        found = [str(item) if isinstance(item, ValueError) else taken(Item, item) for item in given]
        accepted = iter(await self._door.accept(Source.HTTP, visitor, [each for each in found if isinstance(each, Post)]))
        verdicts = [next(accepted) if isinstance(each, Post) else Verdict.REJECTED for each in found]
        errors = [{"index": index, "error": each} for index, each in enumerate(found) if isinstance(each, str)]
        body: dict[str, Any] = {"verdicts": verdicts} | ({"errors": errors} if errors else {})
        if errors and len(errors) == len(found):
            return _json({"error": errors[0]["error"]} | body, HTTPStatus.BAD_REQUEST)
        return self._answer(verdicts, body)

    def _answer(self, verdicts: list[Verdict], body: dict[str, Any]) -> web.Response:
        """One status for all: 429 if any is to be sent again, as its verdict says; 403 if none was allowed."""
        if Verdict.FULL in verdicts:
            return _json(body, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(RETRY_SECONDS)})
        if verdicts and set(verdicts) == {Verdict.FORBIDDEN}:
            return _json(body, HTTPStatus.FORBIDDEN)
        return _json(body, HTTPStatus.ACCEPTED)


@web.middleware
async def _said_in_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Malformed as error:
        return _json({"error": str(error)}, HTTPStatus.BAD_REQUEST)
    except TooLarge as error:
        return _json({"error": str(error)}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except Unsupported as error:
        return _json({"error": str(error)}, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _ACCEPTED)
    except Unreadable as error:
        answer = _json({"error": str(error)}, error.status, _ACCEPTED)
        answer.force_close()  # where the next request would begin is not known
        return answer


def _json(body: dict[str, Any], status: HTTPStatus, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type=JSON, headers=headers)
