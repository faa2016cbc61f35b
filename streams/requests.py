"""What HTTP requests and WebSocket frames have in common: who they come from, and messages as JSON."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.gateway.formats import FORMATS, format_of
from agents.gateway.identity import problem, subjects
from agents.gateway.message import Post
from schemas import json_text
from schemas.bounds import HEADER_BYTES
from schemas.quoting import quoted
from streams.door import Door, Visitor
from streams.listening import MAX_BYTES
from streams.logins import Claim, Refused
from streams.worker.browsers import refusal
from streams.worker.connections import speaks

JSON: Final = "application/json"
PROTOCOL: Final = "headrace"
"""Of WebSocket, which a browser names beside its token: `new WebSocket(url, ["headrace", "headrace.token.<token>"])`."""
TOKEN_PROTOCOL: Final = f"{PROTOCOL}.token."
"""A browser cannot set Authorization on a WebSocket: what follows this in an offered subprotocol is the token."""


class Malformed(Exception):
    """What was sent is no message; the text says why."""


class TooLarge(Exception):
    """A message has more bytes than the gateway takes."""


class Unsupported(Exception):
    """A message is of a content type, or in a charset or packed in a way, that the gateway does not read."""


class Item(BaseModel):
    """A message in JSON: of a batch, or a frame."""

    model_config = ConfigDict(extra="forbid")

    topic: str
    data: Any = None
    """Any JSON."""
    payload_base64: str | None = None
    """In its place, bytes of any kind."""
    content_type: str = ""
    headers: dict[str, str] = Field(default_factory=dict)

    def post(self) -> Post:
        """The message. Raises Malformed, TooLarge, Unsupported."""
        if ("data" in self.model_fields_set) == (self.payload_base64 is not None):
            raise Malformed("a message has either data or payload_base64")
        if self.payload_base64 is None:
            try:
                payload = json_text.dumps(self.data)
            except ValueError as error:
                raise Malformed(f"data: {error}") from error
            return post(self.topic, payload, self.content_type or JSON, self.headers)
        try:
            payload = base64.b64decode(self.payload_base64, validate=True)
        except ValueError as error:  # of which binascii.Error is one
            raise Malformed(f"payload_base64: {error}") from error
        return post(self.topic, payload, self.content_type, self.headers)


def post(topic: str, payload: bytes, content_type: str, headers: Mapping[str, str], qos: int = 1) -> Post:
    """A message that is fit to go on. Raises Malformed, TooLarge, Unsupported."""
    if wrong := problem(topic):
        raise Malformed(wrong)
    try:
        size = sum(len(text.encode()) for text in (content_type, *headers, *headers.values()))
    except UnicodeEncodeError as error:
        raise Malformed("headers are text in UTF-8") from error
    if size > HEADER_BYTES:
        raise TooLarge(f"{size} bytes of headers, at most {HEADER_BYTES} are taken")
    if len(payload) > MAX_BYTES:
        raise TooLarge(f"{len(payload)} bytes, at most {MAX_BYTES} are taken")
    if not format_of(content_type):
        raise Unsupported(f"content type {quoted(content_type)} is not read: send {', '.join(filter(None, FORMATS))}; charset utf-8")
    return Post(topic, payload, qos, content_type, headers)


def taken(kind: type[Item], given: object) -> Post | str:
    """The message that an item of a batch is, or why it is none."""
    try:
        return kind.model_validate(given).post()
    except ValidationError as error:
        return said(error)
    except (Malformed, TooLarge, Unsupported) as error:
        return str(error)


def said(error: ValidationError) -> str:
    """What is wrong with what was sent, without it."""
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'message'}: {each['msg']}" for each in error.errors(include_input=False)[:3])


async def enter(door: Door, request: web.Request, *, local: bool) -> Visitor:
    """Who a request comes from, by its certificate or its Authorization header. Raises the HTTP error that says what is missing."""
    whose = claim(request)
    try:
        visitor = await door.enter(whose, request.remote or "", local=local)
    except Refused as refused:
        text = orjson.dumps({"error": str(refused)}).decode()
        if refused.retry_seconds:
            headers = {"Retry-After": str(refused.retry_seconds)}
            raise web.HTTPTooManyRequests(text=text, content_type=JSON, headers=headers) from refused
        challenge = {"WWW-Authenticate": 'Basic realm="headrace", Bearer'}
        raise web.HTTPUnauthorized(text=text, content_type=JSON, headers=challenge) from refused
    speaks(request.transport)
    # a browser sends passwords and certificates by itself, a token never
    if not whose.token and (foreign := refusal(request, local=local)):
        raise web.HTTPForbidden(text=orjson.dumps({"error": foreign}).decode(), content_type=JSON)
    return visitor


def claim(request: web.Request) -> Claim:
    """What a request says of who it is from; nothing where that cannot be read."""
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    if certificate:
        return Claim(subjects=subjects(certificate))
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        offered = (each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(","))
        token = next((each.removeprefix(TOKEN_PROTOCOL) for each in offered if each.startswith(TOKEN_PROTOCOL)), "")
        return Claim(token=token) if token else Claim()
    if not rest.isascii():  # bytes that are no text: no credential of ours has any
        return Claim()
    if scheme.lower() == "bearer":
        return Claim(token=rest.strip())
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
        except ValueError:  # neither base64 nor UTF-8
            return Claim()
        return Claim(user=user, password=password)
    return Claim()
