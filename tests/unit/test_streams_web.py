from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from streams.settings import settings
from streams.web import guard


async def statuses(monkeypatch, bound, token, given):
    """What /live and another page answer."""
    monkeypatch.setattr(settings(), "web_token", SecretStr(token))
    app = web.Application(middlewares=[guard(SimpleNamespace(conf=SimpleNamespace(web_bind=bound)))])

    async def page(_):
        return web.Response()

    app.router.add_get("/live", page)
    app.router.add_get("/metrics", page)
    headers = {} if given is None else {"Authorization": given}
    async with TestClient(TestServer(app)) as client:
        return [(await client.get(path, headers=headers)).status for path in ("/live", "/metrics")]


@pytest.mark.parametrize("bound", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
async def test_a_worker_that_only_its_machine_can_reach_asks_for_no_token(monkeypatch, bound):
    assert await statuses(monkeypatch, bound, "", None) == [200, 200]


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.0.0.1", "worker-1"])
@pytest.mark.parametrize(
    ("token", "given", "status"),
    [("s3cret", "Bearer s3cret", 200), ("s3cret", "Bearer guess", 401), ("s3cret", None, 401), ("", "Bearer ", 401), ("", None, 401)],
)
async def test_a_worker_that_others_can_reach_asks_for_the_token_it_has(monkeypatch, bound, token, given, status):
    assert await statuses(monkeypatch, bound, token, given) == [200, status]
