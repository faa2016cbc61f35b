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
