"""Devices with a WebSocket each: a frame, its verdict, and the next."""

import ssl
from collections.abc import Sequence
from http import HTTPStatus

import aiohttp
import orjson

from deploy.simulate.city.http_lane import LOCKED, item
from deploy.simulate.city.lanes import Deaf, Lane, Lost
from deploy.simulate.city.outgoing import Outgoing, Unreachable


class WebSocketLane(Lane):
    """One connection."""

    def __init__(self, url: str, headers: dict[str, str], tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._url, self._headers, self._tls = url, headers, tls
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def exchange(self, messages: Sequence[Outgoing]) -> list[str]:
        """Send frames and read their verdicts."""
        try:
            socket = self._socket or await self._connect()
            for message in messages:
                await socket.send_str(orjson.dumps(item(message) | {"id": message.number}).decode())
            verdicts: list[str] = []
            while len(verdicts) < len(messages):
                frame = await socket.receive()
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    raise Lost
                answer = orjson.loads(frame.data)
                if "slow_down_seconds" in answer:
                    self.wait_seconds = float(answer["slow_down_seconds"])
                else:
                    verdicts.append(answer.get("verdict", "malformed"))
        except aiohttp.WSServerHandshakeError as refusal:
            if refusal.status == HTTPStatus.UNAUTHORIZED:
                raise Unreachable(f"the gateway at {self._url} does not let these devices in: {LOCKED}") from refusal
            raise Lost from refusal
        except aiohttp.ClientConnectorError as error:
            raise Deaf from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise Lost from error
        return verdicts

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        self._session = aiohttp.ClientSession(headers=self._headers)
        self._socket = await self._session.ws_connect(self._url, ssl=self._tls or True)
        return self._socket

    async def hang_up(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
        self._session = self._socket = None
