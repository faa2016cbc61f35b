"""The body of an HTTP request, unpacked."""

import gzip
import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, TransferEncodingError

from schemas.quoting import quoted


class Unreadable(Exception):
    """A body that is not what the request's headers say, or is packed in a way that is not read here."""

    def __init__(self, problem: str, status: HTTPStatus) -> None:
        """Answered with `status`: 400, 413 or 415."""
        super().__init__(problem)
        self.status = status


async def received(request: web.Request) -> bytes:
    """The body as the server gives it: of one that unpacks, unpacked. Raises Unreadable."""
    encoding = _encoding(request)
    try:
        return await request.read()
    except (web.RequestPayloadError, ContentEncodingError, TransferEncodingError) as error:
        raise _broken(encoding) from error


async def unpacked(request: web.Request) -> bytes:
    """What was sent, unpacked here and whole: a server that unpacks takes a part of a gzip body for all of it. Raises Unreadable."""
    encoding, body, most = _encoding(request), await received(request), request.client_max_size
    try:
        found = _UNPACK[encoding](body, most + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise _broken(encoding) from error
    if len(found) > most:
        raise Unreadable(f"the body is more than {most} bytes unpacked", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return found


def _encoding(request: web.Request) -> str:
    encoding = request.headers.get("Content-Encoding", "").strip().lower() or "identity"
    if encoding not in ENCODINGS:
        raise Unreadable(f"content encoding {quoted(encoding)} is not read", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    return encoding


def _broken(encoding: str) -> Unreadable:
    what = "it" if encoding == "identity" else encoding
    return Unreadable(f"the body is not what its headers say: {what} cannot be unpacked", HTTPStatus.BAD_REQUEST)


def _gunzipped(body: bytes, most: int) -> bytes:
    with gzip.open(BytesIO(body)) as file:
        return file.read(most)


def _inflated(body: bytes, most: int) -> bytes:
    # with a header (RFC 9110, section 8.4.1.2), or without one, as some clients send it
    inflating = zlib.decompressobj(zlib.MAX_WBITS if body[:1] and body[0] & 0xF == zlib.DEFLATED else -zlib.MAX_WBITS)
    found = inflating.decompress(body, most)
    if len(found) < most and not inflating.eof:
        raise EOFError
    return found


_UNPACK: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gunzipped,
    "deflate": _inflated,
    "identity": lambda body, _: body,
}
ENCODINGS: Final = frozenset(_UNPACK)
