from types import SimpleNamespace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.commands import command_id
from agents.gateway.answers import answered, answering, is_answer, map_answers
from agents.gateway.commands import Outcome, event, is_own, payload_of, slow_down_topic, topic_of
from schemas.bounds import ANSWER_LETTERS, PAYLOAD_BYTES
from schemas.catalog import COMMAND_EVENTS
from schemas.rejects import Reason
from schemas.wire import decode, encode

NOW = 1_760_000_000_000
ID = command_id("a" * 32, NOW, "stop")
COMMAND = {"command_id": ID, "tenant": "acme", "domain": "factory", "plant": "plant-2", "device_id": "press-1", "command": "stop"}
COMMAND |= {"alert_id": "a" * 32, "rule": "stop-on-vibration", "issued_at": NOW, "expires_at": NOW + 65_000}
TOPIC = "factory/plant-2/press-1/command"


def mapped(*payloads: bytes):
    return map_answers([SimpleNamespace(topic=f"{TOPIC}/ack", payload=payload) for payload in payloads], "acme", NOW)


def test_a_command_goes_to_the_machines_own_topic_with_what_it_needs_to_obey_once_and_in_time():
    assert topic_of(COMMAND) == TOPIC
    assert orjson.loads(payload_of(COMMAND)) == {name: COMMAND[name] for name in ("command_id", "command", "alert_id", "rule")} | {
        "issued_at": NOW,
        "expires_at": NOW + 65_000,
    }


@pytest.mark.parametrize("change", [{"plant": ""}, {"plant": "+"}, {"device_id": "a/b"}, {"device_id": "#"}, {"plant": "p" * 65_536}])
def test_what_is_no_level_of_an_mqtt_topic_is_no_address(change):
    assert topic_of(COMMAND | change) is None


def test_the_gateways_own_commands_and_machines_answers_are_told_from_readings():
    assert is_own(TOPIC)
    assert is_answer(f"{TOPIC}/ack")
    for other in (f"{TOPIC}/ack/x", f"{TOPIC}/nack", "factory//press-1/command", "factory/plant-2//command/ack", "factory/p/d/commands"):
        assert not is_own(other)
        assert not is_answer(other)


@pytest.mark.parametrize(("ok", "status"), [(True, Outcome.ACKNOWLEDGED), (False, Outcome.FAILED)])
def test_an_answer_is_a_row_of_the_audit_of_the_machine_whose_topic_it_came_by(ok, status):
    found, rejects = mapped(orjson.dumps({"command_id": ID, "ok": ok, "detail": "x" * 1000, "battery": 7}))
    assert rejects == []
    names = {name: COMMAND[name] for name in ("command_id", "tenant", "domain", "plant", "device_id")}
    assert found.to_dicts() == [names | {"status": status, "detail": "x" * ANSWER_LETTERS, "at": NOW}]
    assert decode(encode(COMMAND_EVENTS.codec, 7, found), COMMAND_EVENTS.codec, {7: COMMAND_EVENTS.codec}).frame.height == 1


def test_what_the_gateway_says_itself_has_the_same_columns():
    row = event(COMMAND, Outcome.EXPIRED, "7.0 s too late", NOW)
    assert row.schema == mapped(orjson.dumps({"command_id": ID, "ok": True}))[0].schema
    assert row["status"].to_list() == ["EXPIRED"]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.UNDECODABLE),
        (b"\xff", Reason.UNDECODABLE),
        (b'{"ok": false, "ok": true}', Reason.UNDECODABLE),
        (b"[]", Reason.INCOMPATIBLE_SCHEMA),
        (b'{"ok": true}', Reason.NULL_FIELD),
        (orjson.dumps({"command_id": ID}), Reason.NULL_FIELD),
        (orjson.dumps({"command_id": ID, "ok": 1}), Reason.INCOMPATIBLE_SCHEMA),
        (orjson.dumps({"command_id": "7", "ok": True}), Reason.INCOMPATIBLE_SCHEMA),
        (b" " * (PAYLOAD_BYTES + 1), Reason.TOO_LARGE),
    ],
)
def test_what_is_no_answer_is_a_reject_with_its_reason(payload, reason):
    found, rejects = mapped(payload)
    assert found.is_empty()
    assert [reject.reason for reject in rejects] == [reason]
    assert answered(payload) is None


@given(st.lists(st.binary(max_size=40) | st.just(orjson.dumps({"command_id": ID, "ok": True})), max_size=5))
def test_every_message_is_a_row_or_a_reject(payloads):
    found, rejects = mapped(*payloads)
    assert found.height + len(rejects) == len(payloads)
    assert found.height == sum(answered(payload) == ID for payload in payloads)


# -- devices of the city

LAMP = COMMAND | {"domain": "city", "plant": "", "device_id": "lamp-1", "parameters": '{"brightness": 80}'}


def test_a_device_of_the_city_is_told_by_a_topic_of_its_own_and_with_parameters():
    assert topic_of(LAMP) == "devices/lamp-1/command"
    assert orjson.loads(payload_of(LAMP))["parameters"] == {"brightness": 80}
    assert topic_of(LAMP | {"device_id": "a/b"}) is None


def test_a_device_hears_on_a_topic_of_its_own_that_it_is_to_send_later():
    assert slow_down_topic("lamp-1") == "devices/lamp-1/slow-down"
    assert is_own("devices/lamp-1/slow-down")
    assert not is_own("factory/plant-1/press/slow-down")
    assert slow_down_topic("") is None
    assert slow_down_topic("a/b") is None


def test_commands_to_the_city_and_its_answers_are_told_from_messages():
    assert is_own("devices/lamp-1/command")
    assert is_answer("devices/lamp-1/command/ack")
    assert answering("devices/lamp-1/command/ack") == "lamp-1"
    assert answering(f"{TOPIC}/ack") is None
    for other in ("devices//command", "devices/a/b/command", "devices/a/status", "devices/a/command/x", "lights/a/command"):
        assert not is_own(other)
        assert not is_answer(other)


def test_a_device_says_first_that_it_has_a_command_and_then_what_came_of_it():
    said = [{"delivered": True}, {"ok": True}, {"ok": False}, {"delivered": True, "ok": True}]
    messages = [SimpleNamespace(topic="devices/b_lamp/command/ack", payload=orjson.dumps({"command_id": ID} | answer)) for answer in said]
    found, rejects = map_answers(messages, "acme", NOW, {"b_lamp": "b"})
    assert rejects == []
    assert found["status"].to_list() == ["DELIVERED", "ACKNOWLEDGED", "FAILED", "ACKNOWLEDGED"]
    assert set(found.select("tenant", "domain", "plant", "device_id").rows()) == {("b", "city", "", "b_lamp")}
    assert [answered(message.payload) for message in messages] == [None, ID, ID, ID]
