"""Messages and commands over CoAP: POST or PUT to /messages/<topic> is answered 2.04 when Kafka or the spool has it.

On a loopback address over UDP, as CoAP mostly is. Elsewhere over TLS on TCP (RFC 8323, `coaps+tcp`): of DTLS there is no well-kept
server for Python; devices that speak nothing else need a proxy that ends it in front of the gateway.
"""

import asyncio
from contextlib import suppress
from typing import Final

from aiocoap import Context, Message
from aiocoap.error import BadRequest, Forbidden, RequestEntityTooLarge, UnsupportedContentFormat
from aiocoap.numbers.codes import CHANGED, SERVICE_UNAVAILABLE
from aiocoap.numbers.types import Type
from aiocoap.resource import PathCapable, Resource, Site
from mode import Service

from agents.gateway.message import Source, Verdict
from streams.assembly import App
from streams.certificates import Certificates
from streams.coap_commands import Answers, Commands
from streams.coap_requests import TOKEN, enter, refuse_what_is_no_text
from streams.door import Door, Visitor
from streams.gate import RETRY_SECONDS
from streams.listening import STOP_SECONDS, Place, binding
from streams.reaching import Reaching
from streams.requests import Malformed, TooLarge, Unsupported, post
from streams.worker.connections import Loop

MAX_BYTES: Final = 65_536
"""Of a message: devices that send more have better protocols. Blocks that are yet to be put together take memory."""
MOST_IN_HAND: Final = 2_000
"""Requests that wait for Kafka at once; others are told to come again."""


class CoapListener(Service):
    """A CoAP server of the gateway's own."""

    def __init__(self, app: App, door: Door, reaching: Reaching, certificates: Certificates, address: str) -> None:
        """Run with `app`, from after what is there already until before that stops."""
        super().__init__()
        self._place = Place.of(address)
        self._messages = Messages(door, local=self._place.local)
        self._commands = Commands(door, reaching, local=self._place.local)
        self._answers = Answers(door, reaching, local=self._place.local)
        self._tls = certificates.context()
        self._context: Context | None = None
        app.services.append(self)

    async def on_start(self) -> None:
        """Listen: over UDP on the port and, with a certificate, over TLS on the next one."""
        refuse_what_is_no_text()
        site = Site()
        site.add_resource(["messages"], self._messages)
        site.add_resource(["commands"], self._commands)
        site.add_resource(["commands"], self._answers)
        transports = (["udp6"] if self._place.local else []) + (["tlsserver"] if self._tls else [])
        with binding(self._place, "HEADRACE_GATEWAY_COAP"):
            self._context = await Context.create_server_context(
                site, loop=Loop(asyncio.get_running_loop()), bind=self._place, transports=transports, _ssl_context=self._tls
            )
        self.log.info("coap_listening address=%s:%d transports=%s", *self._place, transports)

    async def on_stop(self) -> None:
        """Answer what is in hand, and nothing that comes later."""
        await self._messages.close()
        if self._context:
            await self._context.shutdown()


class Messages(Resource, PathCapable):  # type: ignore[misc]
    """The resource devices send to."""

    def __init__(self, door: Door, *, local: bool) -> None:
        super().__init__()
        self._door, self._local = door, local
        self._in_hand = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def close(self) -> None:
        """Take nothing more; return when what is in hand is answered."""
        self._closing = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), STOP_SECONDS)

    async def needs_blockwise_assembly(self, request: Message) -> bool:
        """Yes, up to a size, and of devices that are known: asked for each block."""
        if block := request.opt.block1:
            _require_size(block.start + len(request.payload))
            if block.block_number == 0:
                await self._enter(request)
        return True

    async def render_post(self, request: Message) -> Message:
        """A message."""
        if self._closing or self._in_hand >= MOST_IN_HAND:
            return self._later()
        self._in_hand += 1
        self._idle.clear()
        try:
            return await self._take(request)
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._idle.set()

    render_put = render_post

    async def _take(self, request: Message) -> Message:
        visitor = await self._enter(request)
        _require_size(len(request.payload))
        headers = {name: text for name, _, text in (query.partition("=") for query in request.opt.uri_query) if name != TOKEN}
        # over TCP there is no other kind than confirmed
        qos = 0 if request.mtype is Type.NON else 1
        try:
            message = post("/".join(request.opt.uri_path), request.payload, _content_type(request), headers, qos)
        except (Malformed, TooLarge) as error:
            raise BadRequest(str(error)) from error
        except Unsupported as error:
            raise UnsupportedContentFormat(str(error)) from error
        (verdict,) = await self._door.accept(Source.COAP, visitor, [message])
        if verdict is Verdict.FULL:
            return self._later()
        if verdict is Verdict.FORBIDDEN:
            raise Forbidden("this credential may not publish there: headrace device credentials says where it may")
        if verdict is Verdict.REJECTED:
            raise BadRequest(verdict)
        return Message(code=CHANGED, payload=verdict.encode())

    async def _enter(self, request: Message) -> Visitor:
        return await enter(self._door, request, local=self._local)

    def _later(self) -> Message:
        return Message(code=SERVICE_UNAVAILABLE, max_age=RETRY_SECONDS)


def _require_size(size: int) -> None:
    if size > MAX_BYTES:
        raise RequestEntityTooLarge(f"{size} bytes, at most {MAX_BYTES} are taken")


def _content_type(request: Message) -> str:
    """The media type of a Content-Format; empty where there is none. One that IANA does not know, or that is packed, is never read."""
    number = request.opt.content_format
    if number is None:
        return ""
    known = number.is_known() and number.encoding == "identity"
    return str(number.media_type) if known else f"content-format/{int(number)}"
