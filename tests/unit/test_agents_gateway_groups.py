import pytest
from pydantic import ValidationError

from agents.gateway.groups import Group, Selection

GROUPS = [
    Group(tenant="acme", name="riverside-lights", data_type="lighting", district="riverside", devices="lamp-1 lamp-2"),
    Group(tenant="acme", name="park-lights", data_type="lighting", district="park", devices="lamp-2 lamp-10"),
    Group(tenant="acme", name="riverside-bins", data_type="waste", district="riverside", devices="bin-1"),
]


@pytest.mark.parametrize(
    ("selection", "devices"),
    [
        ({}, ["lamp-1", "lamp-2", "lamp-10", "bin-1"]),
        ({"name": "park-lights"}, ["lamp-2", "lamp-10"]),
        ({"data_type": "lighting"}, ["lamp-1", "lamp-2", "lamp-10"]),
        ({"data_type": "lighting", "district": "riverside"}, ["lamp-1", "lamp-2"]),
        ({"pattern": "lamp-1*"}, ["lamp-1", "lamp-10"]),
        ({"name": "none"}, []),
    ],
)
def test_a_selection_means_the_devices_of_all_groups_that_are_so_each_once(selection, devices):
    assert Selection(**selection).devices(GROUPS) == devices


def test_what_cannot_be_a_device_is_in_no_group():
    with pytest.raises(ValidationError, match="lamp/1"):
        Group(tenant="acme", name="lights", devices="lamp-1 lamp/1")
