import asyncio
from types import SimpleNamespace

import polars as pl
import pytest
from pydantic import ValidationError

from agents.desk import Action
from streams.alerts import Asked, Deed, DeedOfAll, Devices, One, Page, Silence
from streams.api import Conflict, Unknown
from streams.clock import now_ms
from tests.unit.test_agents_desk import change, desk

IDS = ["7a4b84dba13e", "7a4b84dba1f3", "2e7d8db8c87e"]


@pytest.fixture
def page():
    """Answers of a desk with three alerts of one device, which takes up actions at once."""
    known = desk(*(change("RAISED", now_ms() - 1000, alert_id=name, rule="missing") for name in IDS))

    async def act(actions):
        known.act(actions.with_columns(pl.lit(now_ms()).alias("arrival")))

    return Page(SimpleNamespace(desk=known, act=act))


def states(page):
    return {alert["alert_id"]: alert["state"] for alert in page.alerts(Asked())["alerts"]}


def test_the_ids_of_a_list_name_its_alerts(page):
    for alert in page.alerts(Asked())["alerts"]:
        assert page.alert(One(alert_id=alert["short_id"]))["alert"]["alert_id"] == alert["alert_id"]


def test_a_beginning_of_several_ids_is_refused_and_they_are_told(page):
    with pytest.raises(Conflict, match="7a4b84dba1 begins 2 alerts, 7a4b84dba13, 7a4b84dba1f for instance"):
        asyncio.run(page.act(Action.ACKNOWLEDGE, Deed(alert_id="7a4b84dba1", by="kim")))
    with pytest.raises(Unknown):
        page.alert(One(alert_id="x" * 200))
    assert set(states(page).values()) == {"open"}


def test_all_alerts_of_a_kind_are_acknowledged_and_cleared_at_once_and_those_alone(page):
    asyncio.run(page.act(Action.ACKNOWLEDGE, Deed(alert_id="2e", by="kim")))
    assert asyncio.run(page.act_on_all(Action.ACKNOWLEDGE, DeedOfAll(rule="missing", by="kim")))["count"] == 2
    assert page.devices(Devices())["devices"] == []
    assert asyncio.run(page.act_on_all(Action.CLEAR, DeedOfAll(device="another", by="kim")))["count"] == 0
    assert asyncio.run(page.act_on_all(Action.CLEAR, DeedOfAll(device="press", by="kim")))["count"] == 3
    assert states(page) == dict.fromkeys(IDS, "cleared")


def test_who_says_of_no_kind_acts_on_nothing():
    with pytest.raises(ValidationError, match="say which alerts"):
        DeedOfAll(by="kim")


@pytest.mark.parametrize(("rule", "other"), [(None, "missing"), ("missing", None)])
def test_a_silence_that_is_not_there_is_not_ended(page, rule, other):
    def silence(minutes, rule):
        return page.silence(Silence(device="press", rule=rule, minutes=minutes, by="kim"))

    with pytest.raises(Conflict, match="press is not silenced"):
        asyncio.run(silence(0, rule))
    asyncio.run(silence(10, rule))
    with pytest.raises(Conflict, match="press is not silenced"):
        asyncio.run(silence(0, other))
    assert asyncio.run(silence(0, rule))["action"]["action"] == Action.UNSILENCE
    with pytest.raises(Conflict):
        asyncio.run(silence(0, rule))
