import pytest

from agents.gateway.mapping import Routes, Row
from agents.gateway.place import Place
from agents.rowfile import Unfit
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
