import pytest

from agents.gateway.mapping import Routes, Row
from agents.gateway.place import Place
from agents.rowfile import Unfit


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
