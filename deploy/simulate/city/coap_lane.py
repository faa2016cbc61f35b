"""Devices that post confirmable messages over CoAP, one at a time as its specification asks for (RFC 7252, section 4.7)."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import aiocoap
from aiocoap.numbers.codes import SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS, UNAUTHORIZED

from agents.gateway.message import Verdict
from deploy.simulate.city.http_lane import LOCKED
from deploy.simulate.city.lanes import Deaf, Lane, Lost
from deploy.simulate.city.outgoing import Outgoing, Unreachable

_JSON: Final = aiocoap.ContentFormat.by_media_type("application/json")
_LATER: Final = frozenset({SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS})


class CoapLane(Lane):
    """One UDP socket."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self._url, self._query = url, f"?token={quote(token)}" if token else ""
        self._context: aiocoap.Context | None = None

    async def exchange(self, messages: Sequence[Outgoing]) -> list[str]:
        """Post one after the other; without any, ask what there is."""
        if not messages:
            await self._ask(aiocoap.Message(code=aiocoap.GET, uri=f"{self._url}/.well-known/core"))
        return [await self._post(message) for message in messages]

    async def _post(self, message: Outgoing) -> str:
        uri = f"{self._url}/messages/{message.topic}{self._query}"
        answer = await self._ask(aiocoap.Message(code=aiocoap.POST, uri=uri, payload=message.payload, content_format=_JSON))
        if answer.code in _LATER:
            self.wait_seconds = float(answer.opt.max_age or self.wait_seconds)
            return Verdict.FULL
        if answer.code is UNAUTHORIZED:
            raise Unreachable(f"the gateway at {self._url} does not let these devices in: {LOCKED}")
        return answer.payload.decode() if answer.code.is_successful() else str(answer.code)

    async def _ask(self, request: aiocoap.Message) -> aiocoap.Message:
        if self._context is None:
            self._context = await aiocoap.Context.create_client_context(transports=["udp6"])
        try:
            return await self._context.request(request).response
        except aiocoap.error.TimeoutError as error:
            raise Lost from error
        except aiocoap.error.NetworkError as error:
            raise Deaf from error
        except aiocoap.error.Error as error:
            raise Lost from error

    async def hang_up(self) -> None:
        """Close the socket."""
        if self._context is not None:
            await self._context.shutdown()
            self._context = None
