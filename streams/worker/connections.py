"""Listening sockets whose connections are bounded in number, in all and of one address, and closed if they say nothing.

Bounded here, before TLS and before the first byte of any protocol: who needs no credential yet is stopped by nothing else.

accept ─▶ silent ── a request of somebody who is let in, within 10 s ─▶ speaking ─▶ closed
             └────── none, or room is needed ──────────────────────────▶ closed
"""

import asyncio
import errno
import logging
import os
import socket
import time
from collections import Counter
from contextlib import suppress
from ssl import SSLContext
from typing import Any, Final, Self

from streams.worker import descriptors

logger = logging.getLogger(__name__)

SILENT_SECONDS: Final = 10.0
"""A device's first request has come by then, TLS included: who opens a connection has something to say."""
LISTENERS: Final = 4
"""HTTP, WebSocket, CoAP over TLS and the web endpoint share the process's descriptors."""
ADDRESS_SHARE: Final = 2
"""One address may have so large a part of a listener's connections: half, as a site's devices come from one, behind its router."""
MOST: Final = 10_000
"""Connections of a listener, some 50 KB each with TLS."""
BACKLOG: Final = 128
TOLD_SECONDS: Final = 10.0
"""A line of the log for what happens many times."""
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


Peer = tuple[Any, ...]
"""An address as the socket module gives it: host and port first."""


class Connection(socket.socket):
    """One that was accepted."""

    opened_at: float
    peer: Peer
    key: tuple[Peer, Peer]
    listening: "Listening"

    def close(self) -> None:
        """Make room for another."""
        super().close()
        self.listening.forget(self)


_OPEN: Final[dict[tuple[Peer, Peer], Connection]] = {}
"""Every one of the process, by its two ends."""


class Listening(socket.socket):
    """A socket that accepts at most `most` connections at once, half as many of one address."""

    @classmethod
    def at(cls, host: str, port: int, most: int = MOST) -> Self:
        """Listen there, on the first address the name has, of IPv4 if it has any. Raises OSError."""
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        made = cls(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(BACKLOG)
        except OSError:
            socket.socket.close(made)
            raise
        made.setblocking(False)
        made.most = max(1, min(most, (descriptors.most() - descriptors.OWN) // LISTENERS))
        made.turned_away = 0
        made._silent, made._of, made._told_at, made._sweeping = {}, Counter(), float("-inf"), None
        # given up for as long as it takes to turn one away, when there is no other descriptor left
        made._spare = os.open(os.devnull, os.O_RDONLY)
        return made

    most: int
    turned_away: int
    """Connections that were closed to make room."""
    _silent: dict[Peer, Connection]
    """In the order they came."""
    _of: Counter[str]
    """How many each address has."""
    _told_at: float
    _spare: int
    _sweeping: asyncio.Task[None] | None

    def accept(self) -> tuple[socket.socket, Any]:
        """As asyncio asks for it, again and again until there is none. Raises BlockingIOError, ConnectionAbortedError."""
        descriptor, peer = self._accept_descriptor()
        connection = Connection(self.family, self.type, self.proto, fileno=descriptor)
        connection.opened_at, connection.peer, connection.listening = time.monotonic(), peer, self
        connection.key = connection.getsockname(), peer
        _OPEN[connection.key] = self._silent[peer] = connection
        self._of[peer[0]] += 1
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().create_task(self._sweep())
        self._make_room(peer[0])
        return connection, peer

    def spoken(self, connection: Connection) -> None:
        """Somebody who is let in has sent a whole request over it."""
        self._silent.pop(connection.peer, None)

    def forget(self, connection: Connection) -> None:
        """It is closed, or as good as that."""
        if _OPEN.pop(connection.key, None) is not None:
            self._silent.pop(connection.peer, None)
            self._of -= Counter([connection.peer[0]])

    def close(self) -> None:
        """Accept no more."""
        super().close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _make_room(self, host: str) -> None:
        """The one that has said nothing for longest goes where there are too many: the newcomer, where all the others speak."""
        if self._of[host] > max(1, self.most // ADDRESS_SHARE):
            end(next(each for each in self._silent.values() if each.peer[0] == host))
        elif self._of.total() > self.most:
            end(next(iter(self._silent.values())))
        else:
            return
        self.turned_away += 1
        self._tell("connections_bounded address=%s most=%d turned_away=%d", host, self.most, self.turned_away)

    def _accept_descriptor(self) -> tuple[int, Any]:
        try:
            return self._accept()  # type: ignore[attr-defined,no-any-return]  # what socket.accept is made of
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._tell("connections_refused reason='%s' hint='raise the limit of open files of this service'", error.strerror)
            os.close(self._spare)
            with suppress(OSError):
                os.close(self._accept()[0])  # type: ignore[attr-defined]
            self._spare = os.open(os.devnull, os.O_RDONLY)
            raise ConnectionAbortedError from error

    def _tell(self, message: str, *values: object) -> None:
        if time.monotonic() - self._told_at >= TOLD_SECONDS:
            self._told_at = time.monotonic()
            logger.warning(message, *values)

    async def _sweep(self) -> None:
        """Close those that have said nothing in time."""
        while self._silent:
            oldest = next(iter(self._silent.values()))
            left = oldest.opened_at + SILENT_SECONDS - time.monotonic()
            if left > 0:
                await asyncio.sleep(left)
            else:
                end(oldest)
        self._sweeping = None


def speaks(transport: asyncio.BaseTransport | None) -> None:
    """Whoever is at the other end is let in: it may be silent for as long as its protocol allows."""
    if transport is not None:
        connection = _OPEN.get((transport.get_extra_info("sockname"), transport.get_extra_info("peername")))
        if connection is not None:
            connection.listening.spoken(connection)


class Loop:
    """An event loop whose servers take connections by `Listening`, for a library that makes its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._loop, name)

    async def create_server(self, protocol: Any, host: str, port: int, *, ssl: SSLContext | None, **_: Any) -> asyncio.Server:  # noqa: ANN401
        """As the loop's own. Raises OSError."""
        limit = SILENT_SECONDS if ssl else None
        return await self._loop.create_server(protocol, sock=Listening.at(host, port), ssl=ssl, ssl_handshake_timeout=limit)


def end(connection: Connection) -> None:
    """Whoever reads it finds that it has ended, and closes it."""
    connection.listening.forget(connection)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
