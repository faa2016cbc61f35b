import asyncio
import logging
import os
import resource
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from aiohttp import ClientSession, web

from streams.worker import connections, descriptors
from streams.worker.connections import Listening, speaks


@asynccontextmanager
async def serving(listening):
    """A server that echoes a line, and takes whoever sends one for somebody who is let in."""

    async def answer(reader, writer):
        if line := await reader.readline():
            speaks(writer.transport)
            writer.write(line)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, sock=listening)
    try:
        yield listening.getsockname()
    finally:
        server.close()
        await server.wait_closed()


async def asked(place, line=b"hello\n"):
    reader, writer = await asyncio.open_connection(*place)
    writer.write(line)
    return await reader.readline(), writer


async def is_closed(reader):
    with suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 5) == b""
    return True


async def test_a_connection_that_says_nothing_in_time_is_closed_and_one_that_spoke_is_not(monkeypatch):
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.2)
    async with serving(Listening.at("127.0.0.1", 0)) as place:
        answer, speaking = await asked(place)
        silent = [await asyncio.open_connection(*place) for _ in range(3)]
        silent[1][1].write(b"half a li")
        assert [await is_closed(reader) for reader, _ in silent] == [True] * 3
        assert answer == b"hello\n"
        assert not speaking.transport.is_closing()


async def test_where_there_are_too_many_the_one_that_has_been_silent_longest_makes_room_and_who_speaks_stays(caplog):
    listening = Listening.at("127.0.0.1", 0, most=8)
    async with serving(listening) as place:
        _, speaking = await asked(place)
        idle = [await asyncio.open_connection(*place) for _ in range(20)]
        assert [(await asked(place))[0] for _ in range(3)] == [b"hello\n"] * 3
        assert await is_closed(idle[0][0])
        assert listening.turned_away >= 18
        assert not speaking.transport.is_closing()
    assert sum("connections_bounded" in record.message for record in caplog.records) == 1


async def test_where_all_the_others_speak_a_newcomer_is_turned_away():
    listening = Listening.at("127.0.0.1", 0, most=4)
    async with serving(listening) as place:
        speaking = [await asked(place) for _ in range(2)]
        assert [answer for answer, _ in speaking] == [b"hello\n"] * 2
        reader, _ = await asyncio.open_connection(*place)
        assert await is_closed(reader)


async def test_a_process_without_descriptors_says_so_once_and_serves_again_when_it_has_some(caplog):
    listening = Listening.at("127.0.0.1", 0)
    async with serving(listening) as place:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
        client = await asyncio.open_connection(*place)  # what it takes is there before none is left
        await asyncio.sleep(0.05)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
            loop = asyncio.get_running_loop()
            with caplog.at_level(logging.WARNING):
                for descriptor in spare[:1]:
                    os.close(descriptor)
                for _ in range(50):
                    with suppress(OSError):
                        await loop.create_connection(asyncio.Protocol, *place)
                    await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in spare[1:]:
                os.close(descriptor)
        assert sum("connections_refused" in record.message for record in caplog.records) <= 1
        assert not [record for record in caplog.records if record.name == "asyncio"]
        assert (await asked(place))[0] == b"hello\n"
        client[1].close()


async def here(_):
    return web.Response(text="here")


async def test_a_web_server_s_connections_are_bounded_too(monkeypatch):
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.2)
    pages = web.Application()
    pages.router.add_get("/", here)
    runner = web.AppRunner(pages)
    await runner.setup()
    listening = Listening.at("127.0.0.1", 0)
    await web.SockSite(runner, listening).start()
    host, port = listening.getsockname()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert await is_closed(reader)
        session = await stack.enter_async_context(ClientSession())
        assert await (await session.get(f"http://{host}:{port}/")).text() == "here"


async def test_a_library_s_own_servers_are_bounded_by_a_loop_of_theirs(monkeypatch):
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.2)
    loop = connections.Loop(asyncio.get_running_loop())
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=None, reuse_port=True)
    reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await is_closed(reader)
    server.close()
    assert loop.time() > 0


def test_a_process_takes_as_many_descriptors_as_the_system_allows():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
        assert descriptors.raise_limit() == descriptors.most() == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_address_that_is_taken_is_an_error_of_the_system():
    with Listening.at("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        Listening.at("127.0.0.1", first.getsockname()[1])
