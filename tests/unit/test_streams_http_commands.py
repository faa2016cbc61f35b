import asyncio
from contextlib import contextmanager

import pytest
from aiohttp import TCPConnector, web
from aiohttp.test_utils import TestClient, TestServer

from streams.http_commands import LONGEST_WAIT_SECONDS, CommandPages, _seconds
from streams.http_listener import _said_in_json
from streams.requests import Malformed


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("2.5", 2.5), ("1e9", LONGEST_WAIT_SECONDS)])
def test_a_device_waits_no_longer_than_proxies_allow(text, seconds):
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "-inf", "soon", "", "9" * 5_000])
def test_a_wait_that_is_no_time_is_refused(text):
    with pytest.raises(Malformed, match="wait is a number of seconds"):
        _seconds(text)


WAITS = 100


class Nobody:
    """The gateway behind the pages, of a device for which there never is a command."""

    def __init__(self):
        self.lines = 0
        self.all_wait = asyncio.Event()

    async def enter(self, *_, **__):
        return "device"

    def commanded(self, visitor):
        return ("default", visitor)

    @contextmanager
    def line(self, *_):
        self.lines += 1
        if self.lines == WAITS:
            self.all_wait.set()
        yield
        self.lines -= 1

    def waiting(self, *_):
        return []

    async def sent(self, *_):
        pass


async def test_requests_of_others_are_answered_while_one_device_waits_for_commands_as_often_as_it_can():
    nobody = Nobody()
    pages = web.Application(middlewares=[_said_in_json])
    CommandPages(nobody, nobody, local=True).mount(pages)
    pages.router.add_get("/other", _answer)
    server = TestServer(pages)
    async with TestClient(server, connector=TCPConnector(limit=0)) as client:
        waits = [asyncio.create_task(client.get("/commands", params={"wait": "60"})) for _ in range(WAITS)]
        await nobody.all_wait.wait()
        # not a number would stand first among the event loop's timers, and none behind it would go off
        for wrong in ("nan", "-nan", "inf", "1e999"):
            assert (await client.get("/commands", params={"wait": wrong})).status == 400
        for _ in range(100):
            assert (await client.get("/other")).status == 200
        assert (await client.get("/commands", params={"wait": "0.001"})).status == 200
        assert not any(wait.done() for wait in waits)
        await pages.shutdown()
        assert {(await wait).status for wait in waits} == {200}


async def _answer(_):
    await asyncio.sleep(0.001)  # a timer, as everything with a deadline has
    return web.Response()
