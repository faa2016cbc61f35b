import io
from types import SimpleNamespace

import polars as pl
import pytest
from rich.console import Console

from deploy.demo.figures import Figures
from deploy.demo.screen import Screen
from deploy.demo.verdict import judge_city
from deploy.demo.workers import with_listeners
from schemas.catalog import CITY_READINGS, CITY_WINDOWS, CONTRACTS, LIGHTS, TRAFFIC
from streams.settings import Settings

TRUTH = pl.DataFrame({"acknowledged": [True] * 5})
LEDGER = {"accepted": 6, "delivered": 5, "duplicate": 1, "spooled": 0}
LAG = {"factory": 0, "city": 0, "warehouse": 0}
BEFORE = Figures(ends=dict.fromkeys(CONTRACTS, 0), lag=LAG)


def after(**changes):
    ends = {LIGHTS.topic: 3, TRAFFIC.topic: 2, CITY_READINGS.topic: 14, CITY_WINDOWS.topic: 4}
    figures = {
        "ends": BEFORE.ends | ends,
        "lag": LAG,
        "devices": LEDGER,
        "measurements": {"received": 14, "accepted": 13, "late": 1},
        "rows": {"messages": 5, "city_readings": 14},
    }
    return Figures(**(figures | changes))


FEED = SimpleNamespace(newest=(), changes={("factory", "RAISED"): 0, ("city", "RAISED"): 0}, delay_ms=lambda _: None)


def test_a_city_of_which_everything_is_accounted_for_is_well():
    assert judge_city(BEFORE, after(), TRUTH, raised=1) == []


@pytest.mark.parametrize(
    ("changes", "truth", "raised", "problem"),
    [
        ({}, TRUTH.with_columns(acknowledged=pl.Series([True] * 4 + [False])), 1, "1 of the city's 5 messages were not acknowledged"),
        ({}, TRUTH.vstack(TRUTH), 1, "5 of the city's 10 messages are in Kafka"),
        ({"rows": {"messages": 4, "city_readings": 14}}, TRUTH, 1, "4 of the city's 5 messages are in ClickHouse"),
        ({"rows": {"messages": 5, "city_readings": 13}}, TRUTH, 1, "13 of the city's 14 measurements are in ClickHouse"),
        ({"devices": LEDGER | {"duplicate": 0}}, TRUTH, 1, "does not add up"),
        ({"devices": LEDGER | {"delivered": 4, "spooled": 1}}, TRUTH, 1, "1 messages are still in the gateway's spool"),
        ({"measurements": {"received": 13, "accepted": 13}}, TRUTH, 1, "the city worker received 13 of 14"),
        ({"measurements": {"received": 14, "accepted": 13}}, TRUTH, 1, "the city's ledger does not add up"),
        ({}, TRUTH, 0, "no alert of the city was raised"),
    ],
)
def test_what_is_wrong_with_a_city_is_said(changes, truth, raised, problem):
    (said,) = judge_city(BEFORE, after(**changes), truth, raised)
    assert problem in said


def test_the_screen_shows_the_city_beside_the_factory():
    screen, console = Screen(), Console(file=io.StringIO(), width=160)
    screen.render(BEFORE, FEED)
    console.print(screen.render(after(), FEED))
    shown = console.file.getvalue()
    assert "the factory" in shown
    assert "the city" in next(line for line in shown.splitlines() if "the factory" in line)
    for what in (LIGHTS.topic, CITY_WINDOWS.topic, "messages spooled"):
        assert what in shown
    assert "city: 5 messages, 4 windows" in screen.line(after(), FEED)


def test_the_gateway_listens_where_the_settings_say_and_else_where_nobody_does():
    ours = with_listeners(Settings(gateway_http="127.0.0.1:80"))
    assert ours.gateway_http == "127.0.0.1:80"
    assert len({ours.gateway_http, ours.gateway_websocket, ours.gateway_coap}) == 3
    assert ours.gateway_device_rate == 0
