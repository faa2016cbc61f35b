import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from streams.settings import settings
from streams.web import guard, mount


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
async def test_a_worker_that_only_its_machine_can_reach_and_that_has_no_token_asks_for_none(monkeypatch, bound):
    assert await statuses(monkeypatch, bound, "", None) == [200, 200]


@pytest.mark.parametrize(("token", "of_tenants"), [("s3cret", ""), ("", "a=t1"), ("s3cret", "a=t1")])
@pytest.mark.parametrize("given", [None, "Bearer guess", "Bearer ", "Bearer"])
async def test_a_token_that_is_set_is_asked_for_on_a_loopback_address_too(monkeypatch, token, of_tenants, given):
    assert await statuses(monkeypatch, "127.0.0.1", token, given, of_tenants) == [200, 401]


EVIL = "https://evil.example"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
        {"Host": "evil.example:6068", "Origin": "http://evil.example:6068", "Sec-Fetch-Site": "same-origin"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "a b"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_page_of_another_site_asks_nothing_of_a_worker_without_a_token(monkeypatch, method, headers):
    asked = []
    async with guarded(monkeypatch, asked) as client:
        answer = await client.request(method, "/api/commands", headers=headers)
        assert (answer.status, asked) == (403, [])
        assert "prove by a token who you are" in (await answer.json())["error"]
    async with guarded(monkeypatch, asked, token="s3cret") as client:
        assert (await client.request(method, "/api/commands", headers=headers)).status == 401
        # no browser sends a token of its own accord
        own = headers | {"Authorization": "Bearer s3cret"}
        assert (await client.request(method, "/api/commands", headers=own)).status == 200


async def test_the_page_of_a_name_that_points_to_this_machine_reads_nothing(monkeypatch):
    async with guarded(monkeypatch, []) as client:
        assert (await client.get("/api/commands", headers={"Host": "evil.example"})).status == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:6068", "127.0.0.1", "127.0.0.1:6068", "[::1]:6068", "LOCALHOST:6068"])
async def test_people_programs_and_our_own_pages_are_answered(monkeypatch, host):
    asked = []
    async with guarded(monkeypatch, asked) as client:
        for headers in ({}, {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
            assert (await client.post("/api/commands", headers={"Host": host} | headers)).status == 200
        # a link on another site leads here, and that site sees no answer
        assert (await client.get("/api/commands", headers={"Host": host, "Sec-Fetch-Site": "cross-site"})).status == 200


@asynccontextmanager
async def guarded(monkeypatch, asked, token=""):
    """A worker that only its machine reaches; what is asked of it is noted."""
    monkeypatch.setattr(settings(), "web_token", SecretStr(token))
    monkeypatch.setattr(settings(), "tenant_tokens", SecretStr(""))
    app = web.Application(middlewares=[guard(SimpleNamespace(conf=SimpleNamespace(web_bind="127.0.0.1")))])

    async def page(request):
        asked.append(request.method)
        return web.Response()

    app.router.add_route("*", "/api/commands", page)
    async with TestClient(TestServer(app)) as client:
        yield client


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


@asynccontextmanager
async def worker(**bulk):
    """The pages of a worker that only produces and is well but for what `bulk`, its producer, says."""
    app = SimpleNamespace(
        conf=SimpleNamespace(id="uplink", web_bind="127.0.0.1", web_port=0),
        web=SimpleNamespace(web_app=web.Application()),
        metrics=SimpleNamespace(registry=CollectorRegistry()),
        checks={},
        producer_only=True,
        watchdog=SimpleNamespace(
            alive=True, loop_delay_seconds=0.0, stalled={}, standing={}, log_ends=SimpleNamespace(answered_at=time.monotonic(), ends={})
        ),
        bulk=SimpleNamespace(**{"outstanding": 0, "silent_seconds": 0.0, "failures": 0} | bulk),
        writers=SimpleNamespace(known={}),
        waits=[],
    )
    app.consumer = SimpleNamespace(assignment=set)
    mount(app)
    app.checks = {name: check for name, check in app.checks.items() if name != "lag"}
    async with TestClient(TestServer(app.web.web_app)) as client:
        yield client


async def test_a_worker_is_ready_until_a_record_could_not_be_delivered():
    async with worker() as client:
        answer = await client.get("/ready")
        assert (answer.status, (await answer.json())["ready"]) == (200, True)
    async with worker(failures=1) as client:
        answer = await client.get("/ready")
        body = await answer.json()
        assert (answer.status, body["ready"]) == (503, False)
        assert body["checks"]["delivery"]["detail"]["failed_records"] == 1
        assert (await client.get("/live")).status == 200


@pytest.mark.filterwarnings("error")
async def test_the_first_page_links_to_what_can_be_asked_for():
    async with worker() as client:
        answer = await client.get("/")
        text = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert "uplink" in text
        for path in ("/live", "/ready", "/metrics"):
            assert f'href="{path}"' in text
