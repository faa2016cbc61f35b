import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.devices.device_id import fault
from agents.gateway.sparkplug.names import Kind, Node, Speaker, is_under, named, speaker
from schemas.bounds import DEVICE_ID_BYTES

NAMES = st.text(st.characters(exclude_characters="+/#\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.tuples(NAMES, NAMES), NAMES, st.tuples(NAMES, NAMES), NAMES)
def test_distinct_names_have_distinct_ids_that_any_id_may_be(one, device, other, another):
    ids = {(one, ""): Node(*one).id_of(), (one, device): Node(*one).id_of(device)}
    ids |= {(other, ""): Node(*other).id_of(), (other, another): Node(*other).id_of(another)}
    assert len(set(ids.values())) == len(ids)
    assert [fault(found) for found in ids.values() if len(found.encode()) <= DEVICE_ID_BYTES and fault(found)] == []
    assert not any(":" in found for found in ids.values())  # Mosquitto's files have none


@given(NAMES, NAMES, NAMES)
def test_a_nodes_id_names_it_and_only_what_is_under_it_is(group, node, device):
    found = Node(group, node)
    assert named(found.id_of()) == (found if (group + node).isprintable() else None)
    assert named(found.id_of(device)) is None
    assert is_under(found.id_of(device), found.id_of())
    assert not is_under(found.id_of(), found.id_of(device))
    assert not is_under(found.id_of() + "x", found.id_of())


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (("plant", "edge-1", "pump.3"), "plant~edge-1~pump.3"),
        (("Sparkplug B Devices", "Raspberry Pi", "Pibrella"), "Sparkplug=20B=20Devices~Raspberry=20Pi~Pibrella"),
        (("a~b", "c=d", "Süd"), "a=7Eb~c=3Dd~Süd"),
    ],
)
def test_ids_are_readable(names, meant):
    group, node, device = names
    assert Node(group, node).id_of(device) == meant


@pytest.mark.parametrize("device_id", ["lamp-7", "a~b~c", "~b", "a~", "a=2~b", "a=7e~b", "a b~c", "=2B~n", "a=0Auser=20x~n", "a=2F=23~n"])
def test_other_ids_are_no_nodes(device_id):
    assert named(device_id) is None


@pytest.mark.parametrize(
    ("topic", "meant"),
    [
        ("spBv1.0/g/NBIRTH/n", Speaker(Kind.NBIRTH, Node("g", "n"), "")),
        ("spBv1.0/g/DCMD/n/d", Speaker(Kind.DCMD, Node("g", "n"), "d")),
        ("spBv1.0/STATE/scada", Speaker(Kind.STATE, Node("", "scada"), "")),
        ("STATE/scada", Speaker(Kind.STATE, Node("", "scada"), "")),
        ("sensors/a/temperature", None),
        ("STATE/a/b", None),
    ],
)
def test_who_speaks(topic, meant):
    assert speaker(topic) == meant


@pytest.mark.parametrize(
    "topic",
    ["spBv1.0", "spBv1.0/g", "spBv1.0/g/NBIRTH/n/d", "spBv1.0/g/DDATA/n", "spBv1.0//NDATA/n", "spBv1.0/g/XDATA/n", "spBv1.0/g/ndata/n"],
)
def test_what_the_namespace_has_no_place_for_is_told(topic):
    with pytest.raises(ValueError, match=r"spBv1\.0/<group>"):
        speaker(topic)
