import pytest

from agents.gateway.place import Place


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
