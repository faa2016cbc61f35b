from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from streams.api import Question, _zoned, mount
from streams.spans import Span


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-29T20:00:00 00:00", "2026-11-29T20:00:00+00:00"),
        ("2026-11-29T20:00:00.5 0130", "2026-11-29T20:00:00.5+0130"),
        ("2026-11-29T20:00:00-01:00", "2026-11-29T20:00:00-01:00"),
        ("2026-11-29 20:00:00", "2026-11-29 20:00:00"),
        ("Living room", "Living room"),
    ],
)
def test_a_plus_that_was_not_escaped_in_a_time_is_still_one(text, meant):
    assert _zoned(text) == meant


class Asked(Span):
    """A question about a device."""

    device: str


async def test_a_wrong_question_is_told_what_is_wrong_with_which_field():
    app = SimpleNamespace(conf=SimpleNamespace(id="test"), web=SimpleNamespace(web_app=web.Application()))
    mount(app, Question("/api/history", Asked, "A device's history.", lambda asked: {"device": asked.device}))
    async with TestClient(TestServer(app.web.web_app)) as client:
        answer = await client.get("/api/history", params={"start": "yesterday"})
        body = await answer.json()
        assert answer.status == 400
        assert "device: Field required" in body["error"]
        assert "start: " in body["error"]
        assert {each["field"] for each in body["problems"]} == {"device", "start"}
        assert (await client.get("/api/history", params={"device": "d-1"})).status == 200


@pytest.mark.parametrize("content_type", ["text/plain; charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_body_that_any_site_s_form_can_send_is_not_taken_for_a_question(content_type):
    app, asked = SimpleNamespace(conf=SimpleNamespace(id="test"), web=SimpleNamespace(web_app=web.Application())), []
    question = Question("/api/ask", Asked, "Ask.", lambda of: asked.append(of.device) or {}, method="POST")
    mount(app, question)
    async with TestClient(TestServer(app.web.web_app)) as client:
        answer = await client.post("/api/ask", data=b'{"device":"d-1"}', headers={"Content-Type": content_type})
        assert (answer.status, asked) == (415, [])
        assert "send JSON as Content-Type: application/json" in (await answer.json())["error"]
        assert (await client.post("/api/ask", json={"device": "d-1"})).status == 200
    assert asked == ["d-1"]


@pytest.mark.parametrize(("body", "said"), [(b'{"device":"a","device":"b"}', "member 'device' is there twice"), (b"{", "line 1 column")])
async def test_a_body_that_cannot_be_read_is_told_with_the_reason(body, said):
    app = SimpleNamespace(conf=SimpleNamespace(id="test"), web=SimpleNamespace(web_app=web.Application()))
    mount(app, Question("/api/ask", Asked, "Ask.", lambda _: {}, method="POST"))
    async with TestClient(TestServer(app.web.web_app)) as client:
        answer = await client.post("/api/ask", data=body, headers={"Content-Type": "application/json"})
        assert answer.status == 400
        assert said in (await answer.json())["error"]
