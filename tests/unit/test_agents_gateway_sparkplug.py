import pytest
from google.protobuf.message import DecodeError

from agents.gateway.sparkplug import MOST_NODES, PAYLOAD, Sparkplug


def payload(*metrics, **fields):
    message = PAYLOAD(**fields)
    for metric in metrics:
        message.metrics.add(**metric)
    return message.SerializeToString()


def test_metrics_are_members_by_name_with_time_and_sequence():
    data = payload({"name": "temperature", "double_value": 21.5}, {"name": "on", "boolean_value": True}, timestamp=7, seq=3)
    assert Sparkplug().read("spBv1.0/g/DDATA/e/d", data) == {"temperature": 21.5, "on": True, "timestamp": 7, "sequence": 3}


def test_an_alias_has_the_name_its_edge_node_gave_it_at_birth():
    sparkplug = Sparkplug()
    birth = payload({"name": "speed", "alias": 4, "float_value": 0.5})
    assert sparkplug.read("spBv1.0/g/DBIRTH/e/d", birth) == {"speed": 0.5}
    data = payload({"alias": 4, "float_value": 1.5})
    assert sparkplug.read("spBv1.0/g/DDATA/e/d", data) == {"speed": 1.5}
    assert sparkplug.read("spBv1.0/g/DDATA/other/d", data) == {"alias-4": 1.5}


@pytest.mark.parametrize(("datatype", "sent", "meant"), [(1, 255, -1), (2, 32_768, -32_768), (3, 2**32 - 5, -5), (7, 2**32 - 5, 2**32 - 5)])
def test_signed_integers_come_back_signed(datatype, sent, meant):
    data = payload({"name": "n", "datatype": datatype, "int_value": sent})
    assert Sparkplug().read("spBv1.0/g/NDATA/e", data) == {"n": meant}


def test_a_metric_that_is_null_or_has_no_value_is_null():
    data = payload({"name": "a", "is_null": True, "int_value": 1}, {"name": "b"})
    assert Sparkplug().read("spBv1.0/g/NDATA/e", data) == {"a": None, "b": None}


def test_garbage_is_told():
    with pytest.raises(DecodeError):
        Sparkplug().read("spBv1.0/g/NDATA/e", b"\xff\xff")


def test_edge_nodes_are_not_remembered_without_end():
    sparkplug = Sparkplug()
    for node in range(MOST_NODES + 10):
        sparkplug.read(f"spBv1.0/g/NBIRTH/{node}", payload({"name": "a", "alias": 1, "int_value": 1}))
    assert len(sparkplug._aliases) == MOST_NODES
