from contextlib import suppress

import pytest

from agents.gateway.fleet import Fleet
from agents.gateway.mapping import DEFAULT, MOST_PREFIXES, Routes, Row
from agents.gateway.place import Place
from agents.gateway.terms import Terms
from agents.row_model import Unfit
from schemas.bounds import REMEMBERED_BYTES


@pytest.mark.parametrize(
    ("topic", "tenant", "device"),
    [
        ("parking/a_p_1/occupancy", "a", "a_p_1"),
        ("parking/c_p_1/occupancy", "default", "c_p_1"),
        ("parking/" + "d" * 1_000 + "/occupancy", "default", ""),
    ],
)
def test_a_topic_tells_whose_it_is_and_one_that_goes_nowhere_is_the_gateways_own_and_no_device_s(topic, tenant, device):
    place = Place("gateway-0", "1", "default", frozenset("ab"))
    assert (place.tenant_at(topic), place.device_at(topic)) == (tenant, device)


def test_a_message_of_the_default_tenant_reaches_no_topic_of_another():
    place = Place("gateway-0", "1", "default", frozenset({"harbour"}))
    place.adopt(Routes([Row(pattern="a/+/b", topic="harbour.alerts", data_type="d"), Row(pattern="b/+/c", topic="inner.x", data_type="d")]))
    with pytest.raises(Unfit, match=r"harbour\.alerts, a topic of another tenant"):
        place.address("a/l-1/b", "")
    assert place.address("b/harbour_l-1/c", "").topic == "harbour.inner.x"


def test_addresses_are_remembered_up_to_a_length_of_their_topics_together():
    place = Place("gw-1", "run", "default")
    for number in range(REMEMBERED_BYTES // 900 + 10):
        place._addresses[f"{number}", ""] = None
        place._named += 900
    place.address("lights/l-1/status", "")
    assert [*place._addresses] == [("lights/l-1/status", "")]


def test_a_topic_that_nobody_reads_is_refused_before_anything_remembers_it():
    place = Place("gw-1", "run", "default")
    with pytest.raises(Unfit, match="longer than 1000 characters"):
        place.address("lights/l-1/" + "x" * 65_000, "")
    assert not place._addresses


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        ("accept", "new/{}x_ 1/t"),  # no name of a device
        ("accept", "cut/l-1/{}"),  # another tenant's topic
        ("reject", "new/{}x_1/t"),
        ("quarantine", "new/{}x_1/t"),
        ("accept", "told/{}x/set"),  # a host's command
    ],
)
def test_messages_that_go_nowhere_use_up_no_names_of_topics(policy, made):
    place = Place("gw-1", "run", "default", frozenset({"harbour"}), Fleet("gw-1", Terms.of(policy, "")))
    rows = [
        Row(pattern="cut/+/+", topic="harbour.{2}", data_type="d"),
        Row(pattern="told/+/set", topic="iot.{1}.set", data_type="host-command"),
    ]
    place.adopt(Routes([*DEFAULT, *rows], place.filled))
    for number in range(2 * MOST_PREFIXES):
        for _ in range(2):
            with suppress(Unfit):
                place.address(made.format(number), "")
        place.speaks_as(f"new/{number}y_1/t", "")
    assert place.filled == {}


def test_a_device_that_is_let_in_counts_for_the_names_of_topics_from_then_on():
    place = Place("gw-1", "run", "default", fleet=Fleet("gw-1", Terms.of("quarantine", "")))
    assert place.address("new/kiln_1/t", "").device.barred
    place.fleet.terms = Terms()
    assert place.address("new/kiln_1/t", "").topic == "iot.raw.kiln"
    assert place.filled == {"iot.raw.{1}": {"iot.raw.kiln"}}
