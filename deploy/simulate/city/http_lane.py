"""Devices behind a hub that posts what they said in batches over HTTP."""

import base64
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson

from agents.gateway.message import Verdict
from deploy.simulate.city.lanes import Deaf, Lane, Lost
from deploy.simulate.city.outgoing import Outgoing, Unreachable

HUBS: Final = 8
LOCKED: Final = "they are to prove who they are: `headrace device token simulator --publish '#'` makes a token for --token"
_JSON: Final = {"Content-Type": "application/json"}


def item(message: Outgoing) -> dict[str, Any]:
    """A message as the gateway's batches and frames have it; its payload byte by byte."""
    # what is not JSON cannot be part of one
    if not message.readable:
        return {"topic": message.topic, "payload_base64": base64.b64encode(message.payload).decode()}
    return {"topic": message.topic, "data": orjson.Fragment(message.payload)}


class HttpLane(Lane):
    """One hub. A batch goes when the one before is answered for, so what a batch leaves over is not overtaken."""

    at_once = 500

    def __init__(self, url: str, headers: dict[str, str], tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._url, self._headers, self._tls = url, headers | _JSON, tls
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, messages: Sequence[Outgoing]) -> list[str]:
        """Post a batch."""
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        body = orjson.dumps([item(message) for message in messages])
        try:
            async with self._session.post(self._url, data=body, ssl=self._tls or True) as answer:
                if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise Unreachable(f"the gateway at {self._url} does not let these devices publish: {LOCKED}")
                if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise Lost
                if answer.status not in (HTTPStatus.ACCEPTED, HTTPStatus.TOO_MANY_REQUESTS):
                    raise Unreachable(f"{self._url} answers {answer.status}: {await answer.text()}")
                self.wait_seconds = float(answer.headers.get("Retry-After", self.wait_seconds))
                said = await answer.json()
        except aiohttp.ClientConnectorError as error:
            raise Deaf from error
        except aiohttp.ClientError as error:
            raise Lost from error
        # who logs in too often gets no verdicts
        verdicts: list[str] = said.get("verdicts", [Verdict.FULL] * len(messages))
        return verdicts

    async def hang_up(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None
