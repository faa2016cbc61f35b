"""The demo's feed reads alerts of whatever schema they were written by."""

import json
from types import SimpleNamespace

import polars as pl
import pytest

from deploy.demo import feed
from schemas.catalog import ALERTS
from schemas.codec import Codec
from schemas.wire import encode
from streams.settings import Settings
from tests.fakes.registry import registry

LATER = Codec(json.dumps({**json.loads(ALERTS.codec.text), "doc": "the next version"}))


def alert(schema_id, codec):
    columns = codec.columns
    empty = {name: {pl.String: "", pl.Boolean: False, pl.Int64: 2**42, pl.Float64: 0.0}.get(dtype) for name, dtype in columns.items()}
    said = empty | {"domain": "factory", "rule": "above-critical", "status": "RAISED", "severity": "CRITICAL"}
    return encode(codec, schema_id, pl.DataFrame([said], schema=columns))[0]


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """A feed, what comes to it next, and its registry."""
    came = []

    class Consumer:
        def __init__(self, _):
            pass

        def assign(self, _):
            pass

        def consume(self, *_, **__):
            found = [SimpleNamespace(value=lambda value=value: value, error=lambda: None, timestamp=lambda: (1, 2**42)) for value in came]
            came.clear()
            return found

    monkeypatch.setattr(feed, "Consumer", Consumer)
    monkeypatch.setattr(feed, "over_trends", frozenset)
    with registry() as fake:
        yield feed.Feed(Settings(registry=fake.url, data=tmp_path)), came, fake


def test_alerts_of_a_schema_that_came_later_are_counted_too(opened):
    alerts, came, fake = opened
    fake.schemas[9] = LATER.text
    came += [alert(1, ALERTS.codec), alert(9, LATER), b"garbage"]
    alerts.poll(0)
    assert alerts.raised("factory") == 2


def test_while_the_registry_is_away_alerts_wait_and_none_is_counted_twice(opened):
    alerts, came, fake = opened
    fake.answers["/schemas/ids/9"] = (503, "")
    came += [alert(1, ALERTS.codec), alert(9, LATER)]
    alerts.poll(0)
    assert alerts.raised("factory") == 0
    fake.answers.clear()
    fake.schemas[9] = LATER.text
    alerts.poll(0)
    alerts.poll(0)
    assert alerts.raised("factory") == 2
