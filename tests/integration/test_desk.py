"""Operators' desks: any of them answers and takes actions, and what Kafka has outlives every one of them."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import polars as pl
import pytest
from confluent_kafka import Producer

from schemas.catalog import ALERT_ACTIONS, ALERTS
from schemas.registry import Registry
from schemas.wire import encode
from tests.integration.line import PATIENCE, Worker, wait

LONG_IDS = ["7a4b84dba13ef1c0", "7a4b84dba1f3aa90", "2e7d8db8c87ec49d"]
RAISED_AT = int(time.time() * 1000) - 60_000


@pytest.fixture
def raise_alerts(kafka):
    """Writes alerts as a watch does: ids, and what of them differs from the usual."""
    schema_id = Registry(kafka.registry, kafka.data / "test-schemas").register(ALERTS)

    def write(*ids, **changes):
        usual = {"tenant": "default", "domain": "factory", "subject": "heat", "rule": "hot", "severity": "WARNING", "status": "RAISED"}
        told = {"value": 9.0, "threshold": 8.0, "message": "heat is 9", "raised_at": RAISED_AT, "changed_at": RAISED_AT, "historic": False}
        rows = [
            {"alert_id": id, "device_id": f"press-{id}", **usual, **told, "expected_at": None, "confidence": None, **changes} for id in ids
        ]
        frame = pl.DataFrame(rows, schema=ALERTS.codec.columns)
        producer = Producer({"bootstrap.servers": kafka.kafka, "partitioner": "murmur2_random"})
        for device, value in zip(frame["device_id"], encode(ALERTS.codec, schema_id, frame), strict=True):
            producer.produce(ALERTS.topic, value, device.encode())
        producer.flush()

    return write


class Desk(Worker):
    """A desk worker and its pages."""

    def __init__(self, settings, folder, **changes):
        super().__init__(settings.model_copy(update=changes), folder, module="streams.desk")
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def standing(self, **query):
        """Alert id → alert; none while the worker does not answer."""
        with suppress(httpx.TransportError):
            return {alert["alert_id"]: alert for alert in self.http.get("/api/alerts", params=query).json()["alerts"]}
        return {}

    def until(self, condition):
        wait(condition, self.tail, worker=self)

    def tell(self, path, **said):
        answer = self.http.post(f"/api/{path}", json={"by": "kim", **said})
        return answer.status_code, answer.json()


def test_what_is_done_at_one_desk_is_known_at_every_other_and_outlives_it(kafka, topics, raise_alerts, tmp_path):
    raise_alerts("a", "b", "c", "d", "e")
    with Desk(kafka, tmp_path) as first, Desk(kafka, tmp_path) as second:
        for desk in (first, second):
            desk.until(lambda desk=desk: set(desk.standing()) == set("abcde"))
        code, answer = first.tell("alerts/a/acknowledge", note="on my way")
        assert (code, answer["alert"]["state"], answer["alert"]["acknowledged_by"]) == (200, "acknowledged", "kim")
        assert first.tell("alerts/b/silence", minutes=60)[1]["alert"]["state"] == "silenced"
        assert first.tell("alerts/c/clear")[1]["alert"]["state"] == "cleared"
        assert first.tell("alerts/d/escalate")[1]["alert"]["severity"] == "CRITICAL"
        # as soon as it has answered
        first.kill()
        second.until(lambda: second.standing()["d"]["severity"] == "CRITICAL")
        states = {id: alert["state"] for id, alert in second.standing().items()}
        assert states == {"a": "acknowledged", "b": "silenced", "c": "cleared", "d": "open", "e": "open"}
        assert set(second.standing(status="open", severity="WARNING")) == {"e"}
        whole = second.http.get("/api/alerts/a").json()
        assert [change["status"] for change in whole["changes"]] == ["RAISED"]
        assert [(done["action"], done["by"], done["note"]) for done in whole["actions"]] == [("ACKNOWLEDGE", "kim", "on my way")]
        page = second.http.get("/api/alerts?limit=2&offset=4").json()
        assert (len(page["alerts"]), page["count"], page["next"]) == (1, 5, None)
        raise_alerts("a", status="REOPENED", changed_at=RAISED_AT + 1)
        raise_alerts("f", device_id="press-b")
        second.until(lambda: {("a", "open"), ("f", "silenced")} <= {(id, alert["state"]) for id, alert in second.standing().items()})
        assert second.stop() == 0, second.tail()
    with Desk(kafka, tmp_path) as third:
        third.until(lambda: len(third.standing()) == 6)
        assert third.standing()["a"]["acknowledged_by"] is None
        metrics = third.http.get("/metrics").text
        assert 'headrace_desk_alerts{severity="CRITICAL",state="open"} 1.0' in metrics
    audit = topics.frame(ALERT_ACTIONS)
    assert audit["action"].sort().to_list() == ["ACKNOWLEDGE", "CLEAR", "ESCALATE", "SILENCE"]


def test_a_wrong_action_gets_a_clear_answer_and_garbage_stops_no_desk(kafka, topics, raise_alerts, tmp_path):
    producer = Producer({"bootstrap.servers": kafka.kafka})
    for topic in (ALERTS.topic, ALERT_ACTIONS.topic):
        for value in (None, b"", b"garbage", b"\x00\x00\x00\x00\x01?"):
            producer.produce(topic, value, b"x")
    producer.flush()
    raise_alerts("a")
    with Desk(kafka, tmp_path) as desk:
        desk.until(lambda: set(desk.standing()) == {"a"})
        assert desk.tell("alerts/x/acknowledge") == (404, {"error": "no alert x: it is unknown, or was cleared more than a day ago"})
        assert desk.tell("alerts/a/escalate", to="WARNING") == (409, {"error": "alert a is WARNING already"})
        assert desk.tell("alerts/a/clear")[0] == 200
        assert desk.tell("alerts/a/acknowledge") == (409, {"error": "alert a is cleared"})
        code, answer = desk.tell("alerts/a/silence", minutes=-1)
        assert (code, answer["problems"][0]["field"]) == (400, "minutes")
        assert desk.http.post("/api/alerts/a/clear", content=b"{").status_code == 400
        assert desk.http.post("/api/alerts/a/clear", content=b"[]").status_code == 400
        assert desk.http.get("/api/alerts?status=lost").json()["problems"][0]["field"] == "status"
        paths = desk.http.get("/openapi.json").json()["paths"]
        assert paths["/api/alerts/{alert_id}/silence"]["post"]["requestBody"]["content"]["application/json"]["schema"]["required"] == [
            "by",
            "minutes",
        ]


def test_an_operator_handles_alerts_by_command_and_what_nobody_handles_is_escalated(kafka, topics, raise_alerts, tmp_path):
    with Desk(kafka, tmp_path, escalate_minutes=0.001) as desk:

        def headrace(*words):
            command = [str(Path(sys.executable).with_name("headrace")), "alerts", *words]
            environment = kafka.environment(COLUMNS="200", HEADRACE_DESK=f"http://127.0.0.1:{desk.port}")
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
            return done.returncode, done.stdout + done.stderr

        raise_alerts("a")
        desk.until(lambda: [alert["severity"] for alert in desk.standing().values()] == ["CRITICAL"])
        assert headrace("acknowledge", "a", "--by", "lee") == (0, "press-a hot: CRITICAL, acknowledged\n")
        assert headrace("silence", "--device", "press-z", "--minutes", "5") == (0, "press-z is silenced\n")
        assert "press-z" in headrace("silences")[1]
        code, table = headrace("list", "--status", "acknowledged")
        assert (code, "lee" in table, "heat is 9" in table) == (0, True, True)
        code, history = headrace("show", "a")
        assert "nobody acknowledged it for 0.001 minutes" in history
        assert headrace("clear", "nope") == (1, "no alert nope: it is unknown, or was cleared more than a day ago\n")
        assert headrace("acknowledge", "") == (1, "An alert's id is missing: headrace alerts list shows them.\n")
        raise_alerts(*LONG_IDS, device_id="press-1", rule="missing")
        desk.until(lambda: len(desk.standing()) == 1 + len(LONG_IDS))
        code, table = headrace("list", "--rule", "missing")
        short = {line.split()[0] for line in table.splitlines()[1:]}
        assert {len(each) for each in short} == {8, 11}
        for each in short:
            assert headrace("escalate", each, "--to", "info")[0] == 0
        code, told = headrace("acknowledge", LONG_IDS[0][:9])
        assert (code, "begins 2 alerts" in told) == (1, True)
        assert json.loads(headrace("list", "--rule", "missing", "--json")[1])[0]["alert_id"] in LONG_IDS
        code, devices = headrace("devices")
        assert [line.split()[::2][:2] for line in devices.splitlines()[1:]] == [["press-1", str(len(LONG_IDS))]]
        assert headrace("acknowledge", "--device", "press-1", "--rule", "missing") == (0, f"acknowledge: {len(LONG_IDS)} alerts\n")
        code, told = headrace("acknowledge", "--device", "press-1")
        assert (code, "no alert that this is for is as you said (device press-1)" in told) == (1, True)
        assert headrace("clear", "--rule", "missing") == (0, f"clear: {len(LONG_IDS)} alerts\n")
    assert headrace("list")[0] == 2
