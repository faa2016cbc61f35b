"""The body of an HTTP request, unpacked."""

from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, TransferEncodingError

from schemas.quoting import quoted

ENCODINGS: Final = frozenset({"gzip", "deflate", "identity"})


class Unreadable(Exception):
    """A body that is not what the request's headers say, or is packed in a way that is not read here."""

    def __init__(self, problem: str, status: HTTPStatus) -> None:
        """Answered with `status`: 400 or 415."""
        super().__init__(problem)
        self.status = status


async def unpacked(request: web.Request) -> bytes:
    """What was sent, unpacked. Raises Unreadable."""
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding and encoding not in ENCODINGS:
        raise Unreadable(f"content encoding {quoted(encoding)} is not read", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        return await request.read()
    except (web.RequestPayloadError, ContentEncodingError, TransferEncodingError) as error:
        problem = f"the body is not what its headers say: {encoding or 'it'} cannot be unpacked"
        raise Unreadable(problem, HTTPStatus.BAD_REQUEST) from error
