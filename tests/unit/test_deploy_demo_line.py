"""When the demo goes on, is over, and gives up: by what its figures say, and not by a clock."""

import time
from types import SimpleNamespace

import polars as pl
import pytest

from deploy.demo import line as module
from deploy.demo.figures import Figures
from deploy.demo.line import Line
from deploy.patience import Patience
from deploy.simulate.status import Status
from schemas.catalog import CITY_READINGS, CITY_WINDOWS, CONTRACTS, LIGHTS, READINGS, WINDOWS

LAG = {"factory": 0, "city": 0, "warehouse": 0}
BEGIN = Figures(ends=dict.fromkeys(CONTRACTS, 0), lag=LAG)
FACTORY = pl.DataFrame({"fault": ["sound"] * 9, "acknowledged": [True] * 9})
CITY = pl.DataFrame({"acknowledged": [True] * 9})


def figures(readings=9, stored=9, **windows):
    ends = {READINGS.topic: readings, LIGHTS.topic: 9, CITY_READINGS.topic: 9, WINDOWS.topic: windows.get("factory", 0)}
    return Figures(
        gateway={"received": 18, "passed": 9, "produced": readings, "rejected": 9 - readings},
        devices={"accepted": 9, "delivered": 9},
        ledger={"received": readings, "accepted": readings},
        measurements={"received": 9, "accepted": 9},
        warehouse={"received": readings, "stored": readings},
        rows={"readings": stored, "messages": 9, "city_readings": 9},
        ends=BEGIN.ends | ends | {CITY_WINDOWS.topic: windows.get("city", 0)},
        lag=LAG,
    )


class Reader:
    """Says one after the other, and the last for ever."""

    def __init__(self, *said):
        self.said = [*said]
        self.asked = 0

    def read(self):
        self.asked += 1
        return self.said.pop(0) if len(self.said) > 1 else self.said[0]


def line(*said, raised=1):
    feed = SimpleNamespace(poll=lambda _: None, raised=lambda _: raised)
    simulators = [SimpleNamespace(status=Status(10, 0, 1_000), name=name) for name in ("factory", "city")]
    heard = []
    made = Line([], *simulators, Reader(BEGIN, *said), feed, heard.append, started_ms=0)
    return made, heard


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)


def over(made, now, patience=None):
    return made._is_over(60, now, patience or Patience(100))


def test_the_time_is_over_when_windows_have_closed_and_alerts_were_raised():
    made, _ = line(figures())
    assert over(made, figures(factory=1, city=1))
    assert not over(made, figures(factory=1))
    assert not over(made, figures(city=1))


def test_without_an_alert_it_goes_on():
    made, _ = line(figures(), raised=0)
    assert not over(made, figures(factory=1, city=1))
    assert made._waited_for(-1.0, figures(factory=1, city=1)).endswith("waiting for an alert of the factory, an alert of the city")


def test_devices_behind_their_clock_are_given_the_time_they_take():
    made, _ = line(figures())
    made.factory.status = Status(10, 0, 239_000)
    made.city.status = Status(10, 0, 300_000)
    assert not over(made, figures())
    made.factory.status = Status(10, 0, 241_000)
    assert over(made, figures())


def test_devices_that_say_nothing_new_end_it():
    made, _ = line(figures())
    assert over(made, figures(), Patience(0))


def test_a_line_that_is_slow_is_waited_for_as_long_as_something_moves(monkeypatch):
    monkeypatch.setattr(module, "STILL_SECONDS", 0.02)
    made, heard = line(*(figures(stored=count) for count in range(10)))
    monkeypatch.setattr(made.feed, "poll", lambda _: time.sleep(0.01))
    after, wrong = made.settled(FACTORY, CITY)
    assert wrong == []
    assert after.rows["readings"] == 9
    assert any(said.startswith("not yet: 4 of 9 good readings are in ClickHouse") for said in heard)


def test_what_does_not_move_any_more_is_said_to_be_wrong(monkeypatch):
    monkeypatch.setattr(module, "STILL_SECONDS", 0.0)
    made, _ = line(figures(stored=8))
    assert made.settled(FACTORY, CITY)[1] == ["8 of 9 good readings are in ClickHouse"]


def test_a_line_that_is_right_is_not_waited_for():
    made, _ = line(figures())
    assert made.settled(FACTORY, CITY)[1] == []
    assert made.reader.asked == 2
