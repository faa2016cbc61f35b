from collections.abc import Callable

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from agents.devices.device_id import RULE, fault
from agents.gateway.answers import map_answers
from agents.gateway.fleet import Fleet
from agents.gateway.groups import Group
from agents.gateway.identity import Credential
from agents.gateway.mapping import Routes, Row
from agents.gateway.message import Post
from agents.gateway.readings import map_readings
from agents.gateway.registration import Registration, from_csv
from agents.row_model import Unfit
from deploy import registry_commands
from schemas.catalog import PRESENCE
from streams.orders import Request
from streams.registry import New, One, Retired

GOOD = ["l-1", "aa:bb:cc:dd:ee:ff", "plant-1.press_7", "Straßenlampe-7", "灯-1", "a" * 200, "ä" * 100, "-", "...", "$x", "a%2Fb", "🚲"]
BAD = [
    "",
    ".",
    "..",
    "with space",
    " l",
    "l ",
    "a\tb",
    "a\nb",
    "\0",
    "a\x7f",
    "a\u00a0b",
    "a\u200bb",
    "\ufeffl",
    "a\u2028b",
    "a/b",
    "a+",
    "#",
]
BAD += ["{1}", "a}", "a" * 201, "ä" * 101, "\ud800"]
BAD += ["l\u034f1", "\u3164", "\u115f", "\uffa0", "l\u180b", "l\ufe0f", "\U000e0100l", "\u2800", "\ufffe", "\ufdd0", "\U0010ffff"]
IDS = st.text(st.one_of(st.characters(), st.sampled_from("/+#{}. \t\u00a0\u200b")), max_size=5) | st.sampled_from(GOOD + BAD)


def models(given: str) -> list[Callable[[], object]]:
    """Every place where an operator, a device or a web page gives an id."""
    about = {"kind": "token", "name": "t", "secret": "s"}
    return [
        lambda: Registration(device_id=given, device_type="x", tenant_id="default"),
        lambda: New(device_id=given, device_type="x", tenant_id="default"),
        lambda: One(device_id=given, tenant_id="default"),
        lambda: Retired(device_id=given, tenant_id="default"),
        lambda: Credential(tenant="default", device=given, **about),
        lambda: Request(command="on", device=given),
        lambda: Request(command="on", device_ids=["l-1", given]),
    ]


@pytest.mark.parametrize("good", GOOD)
def test_a_device_may_be_called(good):
    assert fault(good) is None


@pytest.mark.parametrize("bad", BAD)
def test_a_device_cannot_be_called_and_is_told_the_rule(bad):
    assert RULE in fault(bad)
    assert fault(bad).isprintable()


@given(IDS)
@example("with space")
def test_what_is_a_device_s_id_in_one_place_is_one_everywhere(given_id):
    wrong = fault(given_id)
    for model in models(given_id):
        if wrong is None:
            model()
        else:
            with pytest.raises(ValidationError) as refused:
                model()
            assert [error["msg"] for error in refused.value.errors()] == [wrong]


@given(IDS)
@example("a/b")
@example("with space")
def test_what_cannot_be_registered_does_not_get_in_by_a_topic_either(given_id):
    wrong = fault(given_id)
    everything = Routes([Row(pattern="house/#", topic="t", data_type="x")])
    if wrong is None:
        assert everything.target(f"house/{given_id}").device_id == given_id
    else:
        with pytest.raises(Unfit):
            everything.target(f"house/{given_id}")


@given(IDS.filter(lambda given_id: "/" not in given_id))
@example("with space")
@example("l-1")
def test_machines_and_answers_go_by_the_same_rule(given_id):
    reading = Post(f"factory/p/{given_id}/temperature", b'{"value": 1, "timestamp": 1, "unit": "C"}')
    answer = Post(f"devices/{given_id}/command/ack", orjson.dumps({"command_id": "0" * 32, "ok": True}))
    about_ids = [reject for reject in map_readings([reading], {}).rejects if reject.reason in ("bad-device-id", "unmapped-topic")]
    rows, rejects = map_answers([answer], "default", 1)
    assert bool(about_ids) == bool(rejects) == (fault(given_id) is not None)
    assert rows.height == (not rejects)


@given(IDS)
@example("with\u00a0space")
def test_groups_and_files_go_by_the_same_rule(given_id):
    ids = given_id.split()
    if all(fault(each) is None for each in ids):
        assert Group(tenant="t", name="g", devices=given_id).devices.split() == ids
    else:
        with pytest.raises(ValidationError, match=r"a device's id has|unicode"):
            Group(tenant="t", name="g", devices=given_id)
    stripped = given_id.strip()
    if not set(given_id) & set('",\r\n\0\ud800') and stripped.isprintable():
        devices, misfits = from_csv(f"device_id,device_type\n{given_id},x\n", {"tenant_id": "default"})
        assert [each.device_id for each in devices] == ([] if fault(stripped) else [stripped])
        assert len(misfits) == (fault(stripped) is not None)


@pytest.mark.parametrize("device", ["{1} lamp", "lamp/{1}", "{x}", ".", ""])
def test_a_mapping_row_that_would_name_no_device_is_refused_when_it_is_applied(device):
    with pytest.raises(ValidationError, match="a device's id has"):
        Row(pattern="lamps/+", topic="t", data_type="x", device=device)


def test_a_device_that_came_in_under_an_older_rule_is_nowhere():
    fleet = Fleet()
    empty = dict.fromkeys(PRESENCE.codec.columns, "") | {"tenant_id": "default", "status": "online"}
    numbers = dict.fromkeys(("first_seen", "last_seen", "since", "reported_at"), 1)
    fleet.hear([empty | numbers | {"device_id": name} for name in ("with space", "l-1")])
    assert [*fleet.devices] == [("default", "l-1")]


@pytest.mark.parametrize("command", ["retire", "show"])
def test_the_command_line_says_the_rule_and_no_success(command, monkeypatch):
    monkeypatch.setattr(registry_commands, "_fleet", Fleet)
    done = CliRunner().invoke(registry_commands.app, [command, "with space"])
    assert done.exit_code == 1
    assert "cannot be" in done.output
    assert "retired" not in done.output


def test_a_device_that_is_retired_already_is_no_success(monkeypatch):
    fleet = Fleet()
    retired = Registration(device_id="l-1", device_type="x", tenant_id="default", retired=True).model_dump()
    assert [*fleet.register([{"device_key": "default/l-1", **retired}])] == []
    monkeypatch.setattr(registry_commands, "_fleet", lambda: fleet)
    done = CliRunner().invoke(registry_commands.app, ["retire", "l-1"])
    assert done.exit_code == 1
    assert "default/l-1 is retired already" in done.output
