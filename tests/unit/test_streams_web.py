from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from streams.settings import settings
from streams.web import guard


async def statuses(monkeypatch, bound, token, given, of_tenants=""):
    """What /live and another page answer."""
    monkeypatch.setattr(settings(), "web_token", SecretStr(token))
    monkeypatch.setattr(settings(), "tenant_tokens", SecretStr(of_tenants))
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


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(("given", "status"), [("Bearer t1", 403), ("Bearer t=2", 403), ("Bearer s3cret", 200)])
async def test_a_tenant_s_token_does_not_show_what_is_of_all(monkeypatch, bound, given, status):
    assert await statuses(monkeypatch, bound, "s3cret", given, "a=t1,b=t=2") == [200, status]
