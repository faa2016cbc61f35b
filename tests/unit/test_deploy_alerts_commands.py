import httpx
import pytest
from typer.testing import CliRunner

from deploy import worker_api
from deploy.alerts_commands import app


@pytest.fixture
def desk(monkeypatch):
    """What a desk is asked; `answers` is what it says."""

    class Desk:
        asked, answers = [], httpx.Response(200, json={"alert": {"device_id": "p", "rule": "r", "severity": "INFO", "state": "open"}})

        def request(self, method, url, **how):
            self.asked.append((method, httpx.URL(url).raw_path.decode(), how.get("json")))
            self.answers.request = httpx.Request(method, url)
            return self.answers

    found = Desk()
    found.asked = []
    monkeypatch.setattr(worker_api.httpx, "request", found.request)
    return found


def run(*words):
    return CliRunner().invoke(app, words)


@pytest.mark.parametrize("what", ["acknowledge", "clear", "escalate", "show"])
@pytest.mark.parametrize("odd", ["", "  ", "…"])
def test_an_id_that_is_none_is_told_in_a_sentence(desk, what, odd):
    found = run(what, odd)
    assert (found.exit_code, found.output) == (1, "An alert's id is missing: headrace alerts list shows them.\n")
    assert desk.asked == []


@pytest.mark.parametrize(("odd", "path"), [("a/b", "a%2Fb"), ("a b?c#d", "a%20b%3Fc%23d"), ("7a4b84db…", "7a4b84db"), ("é", "%C3%A9")])
def test_an_odd_id_reaches_the_desk_as_it_is(desk, odd, path):
    assert run("acknowledge", odd).exit_code == 0
    assert desk.asked[0][1] == f"/api/alerts/{path}/acknowledge"


def test_all_alerts_of_a_kind_are_acknowledged_at_once(desk):
    desk.answers = httpx.Response(200, json={"count": 1220})
    found = run("acknowledge", "--rule", "missing", "--severity", "warning", "--by", "kim")
    assert desk.asked == [("POST", "/api/alerts/acknowledge", {"by": "kim", "note": "", "rule": "missing", "severity": "WARNING"})]
    assert found.output == "acknowledge: 1220 alerts\n"
    assert run("clear").exit_code == 2
    assert run("clear", "a", "--rule", "missing").exit_code == 2


@pytest.mark.parametrize("what", ["acknowledge", "clear"])
def test_a_kind_that_no_alert_is_of_is_an_error_and_told(desk, what):
    desk.answers = httpx.Response(200, json={"count": 0})
    found = run(what, "--rule", "nosuch", "--device", "press")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "no alert that this is for is as you said (device press, rule nosuch)" in found.stderr


def test_a_time_is_told_with_its_date_and_zone(desk):
    alert = dict.fromkeys(("short_id", "state", "device_id", "rule", "cleared_by", "silenced_by", "acknowledged_by"), "a")
    desk.answers = httpx.Response(
        200, json={"alerts": [{**alert, "severity": "INFO", "raised_at": 1_796_011_381_000, "message": "m"}], "count": 1}
    )
    assert " 2026-11-30T04:03:01Z " in run("list").stdout
