"""What Eclipse Sparkplug 3.0 asks of a host application, by the numbers of its statements, and what edge nodes may do to one."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.sparkplug.documents import MOST
from agents.gateway.sparkplug.names import Node, speaker
from agents.gateway.sparkplug.nodes import Nodes, rebirth
from agents.gateway.sparkplug.session import ASK_MS, REORDER_MS
from agents.gateway.sparkplug.wire import PAYLOAD, DataType
from schemas.bounds import MEMBERS

T = 1_790_000_000_000
INT32, BOOLEAN, DOUBLE = DataType.INT32, DataType.BOOLEAN, DataType.DOUBLE
NODE = Node("g", "n")
MINUS_12 = 0xFFFFFFF4


def payload(*metrics, **fields):
    message = PAYLOAD(**fields)
    for metric in metrics:
        message.metrics.add(**metric | {"name": metric["name"].encode()} if "name" in metric else metric)
    return message.SerializeToString()


def bd_seq(number):
    return {"name": "bdSeq", "datatype": DataType.INT64, "long_value": number}


class Host:
    """Edge node n of group g, and devices under it, before a host."""

    def __init__(self, **options):
        self.nodes, self.kept, self.at = Nodes(**options), [], T

    def hear(self, topic, *metrics, tenant="default", **fields):
        heard, birth = self.nodes.hear(tenant, speaker(f"spBv1.0/{topic}"), payload(*metrics, **fields), self.at)
        self.kept += [birth] if birth else []
        return heard

    def documents(self, topic, *metrics, **fields):
        return list(self.hear(topic, *metrics, **fields).said.documents)

    def born(self, number=0, *metrics, seq=0, **fields):
        return self.hear(
            "g/NBIRTH/n",
            bd_seq(number),
            {"name": "Node Control/Rebirth", "datatype": BOOLEAN, "boolean_value": False},
            *metrics,
            seq=seq,
            **fields,
        )

    def device_born(self, seq=1, **fields):
        temperature = {"name": "temperature", "alias": 3, "datatype": INT32, "int_value": MINUS_12, "timestamp": T}
        return self.hear("g/DBIRTH/n/d", temperature, seq=seq, **fields)

    def asked(self, later=0):
        self.at += later
        return list(self.nodes.asked(self.at, 100))

    def restarted(self):
        successor = Host()
        successor.at = self.at
        for birth in self.kept:
            successor.nodes.recall(birth, fresh=False)
        return successor


@pytest.fixture
def host():
    return Host()


# tck-id-payloads-metric-datatype-not-req, tck-id-payloads-alias-data-cmd-requirement: data has neither name nor data type
@pytest.mark.parametrize("called", [{"alias": 3}, {"name": "temperature"}])
def test_data_is_read_by_the_name_and_data_type_of_its_birth(host, called):
    host.born()
    (birth,) = host.device_born().said.documents
    assert birth == {"temperature": -12, "timestamp": T, "sequence": 1}
    assert host.documents("g/DDATA/n/d", called | {"int_value": MINUS_12}, seq=2) == [{"temperature": -12, "sequence": 2}]


# tck-id-payloads-metric-datatype-req: every type is the birth's to tell
@pytest.mark.parametrize(
    ("datatype", "field", "sent", "meant"),
    [(1, "int_value", 0xF4, -12), (2, "int_value", 0xFFF4, -12), (4, "long_value", 2**64 - 12, -12), (7, "int_value", MINUS_12, MINUS_12)],
)
def test_of_every_data_type(host, datatype, field, sent, meant):
    host.born(0, {"name": "m", "alias": 1, "datatype": datatype, "is_null": True})
    assert host.documents("g/NDATA/n", {"alias": 1, field: sent}, seq=1) == [{"m": meant, "sequence": 1}]


# tck-id-payloads-alias-uniqueness: aliases are looked up where they were defined, and one that is two metrics is none
def test_an_alias_is_that_of_its_own_device_and_tenant(host):
    host.born()
    host.device_born()
    for topic, tenant in (
        ("g/DDATA/n/other", "default"),
        ("g/DDATA/other/d", "default"),
        ("h/DDATA/n/d", "default"),
        ("g/DDATA/n/d", "harbour"),
    ):
        said = host.hear(topic, {"alias": 3, "double_value": 1.0}, tenant=tenant).said
        assert not said.documents
        assert said.untold


def test_an_alias_of_two_metrics_is_not_guessed(host):
    said = host.born(0, *({"name": name, "alias": 1, "datatype": DOUBLE, "double_value": 1.0} for name in "ab")).said
    assert said.documents == [{"a": 1.0, "b": 1.0, "sequence": 0}]
    assert said.defects == ["alias 1 is that of two metrics"]
    assert host.hear("g/NDATA/n", {"alias": 1, "double_value": 1.0}, seq=1).said.untold


# tck-id-payloads-name-birth-data-requirement, tck-id-payloads-metric-timestamp-in-UTC: a metric's time is its own
def test_each_metric_is_of_its_own_time_and_repeated_ones_are_readings_of_their_own(host):
    samples = [
        {"name": "t", "datatype": DOUBLE, "double_value": v, "timestamp": T - ago}
        for v, ago in ((4.0, 180_000), (45.0, 120_000), (5.0, 60_000))
    ]
    assert host.documents("g/NDATA/n", *samples, {"name": "u", "double_value": 1.0}, timestamp=T, seq=7) == [
        {"t": 4.0, "timestamp": T - 180_000, "sequence": 7},
        {"t": 45.0, "timestamp": T - 120_000, "sequence": 7},
        {"t": 5.0, "timestamp": T - 60_000, "sequence": 7},
        {"u": 1.0, "timestamp": T, "sequence": 7},
    ]


def test_repeated_metrics_of_one_time_are_all_told(host):
    twice = [{"name": "t", "double_value": value} for value in (1.0, 2.0)]
    assert host.documents("g/NDATA/n", *twice, timestamp=T) == [{"t": 1.0, "timestamp": T}, {"t": 2.0, "timestamp": T}]


def test_what_is_historical_says_so_apart_from_what_is_not(host):
    both = [{"name": name, "double_value": 1.0, "timestamp": T, "is_historical": old} for name, old in (("a", True), ("b", False))]
    assert host.documents("g/NDATA/n", *both) == [{"a": 1.0, "timestamp": T, "is_historical": True}, {"b": 1.0, "timestamp": T}]


def test_a_metric_without_a_time_in_a_payload_without_one_has_none(host):
    assert host.documents("g/NDATA/n", {"name": "t", "double_value": 1.0}) == [{"t": 1.0}]


# tck-id-payloads-sequence-num-incrementing, tck-id-operational-behavior-host-reordering-start, -rebirth
def test_what_is_missing_for_longer_than_the_reorder_timeout_is_asked_for_once(host):
    host.born()
    host.hear("g/NDATA/n", seq=1)
    host.hear("g/NDATA/n", seq=4)
    assert host.asked(later=REORDER_MS - 1) == []
    assert host.asked(later=1) == [NODE]
    host.hear("g/NDATA/n", seq=5)
    assert host.asked(later=10 * ASK_MS) == []


# tck-id-operational-behavior-host-reordering-success
def test_what_was_only_late_is_not_asked_for(host):
    host.born()
    for seq in (1, 4, 2, 3, 5):
        host.hear("g/NDATA/n", seq=seq)
    assert host.asked(later=ASK_MS) == []


@given(st.integers(1, 700), st.integers(2, 255))
def test_a_gap_of_any_size_is_noticed_wherever_it_is_and_none_is_seen_where_there_is_none(count, lost):
    host = Host()
    host.born(timestamp=T)
    for number in range(1, count + 1):
        host.hear("g/NDATA/n", seq=number % 256, timestamp=T + number)
    assert host.asked(later=ASK_MS) == []
    host.hear("g/NDATA/n", seq=(count + lost) % 256, timestamp=T + count + lost)
    assert host.asked(later=ASK_MS) == ([NODE] if lost > 1 else [])


def test_a_message_that_comes_a_second_time_is_no_gap(host):
    host.born(timestamp=T)
    for seq in (1, 2, 2, 1, 3):
        host.hear("g/NDATA/n", seq=seq, timestamp=T + seq)
    assert host.asked(later=ASK_MS) == []


def test_where_gateways_share_a_subscription_no_gap_is_told():
    host = Host(in_order=False)
    host.born()
    host.hear("g/NDATA/n", seq=9)
    assert host.asked(later=ASK_MS) == []


# the NCMD of section 5.10: a host that has not heard the birth asks for it
def test_data_whose_birth_was_not_heard_is_not_guessed_and_another_birth_is_asked_for_once(host):
    said = host.hear("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}).said
    assert (said.documents, said.defects, said.untold) == ([], ["alias 3: its birth was not heard"], True)
    assert host.asked() == [NODE]
    for _ in range(100):
        host.hear("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12})
        assert host.asked() == []
    host.born()
    host.device_born()
    assert host.asked(later=100 * ASK_MS) == []


def test_a_node_that_does_not_answer_is_asked_ever_more_seldom(host):
    times = []
    for _ in range(24 * 60):
        host.hear("g/NDATA/n", {"alias": 3, "int_value": 200})
        if host.asked(later=60_000):
            times.append(host.at)
    assert 20 <= len(times) <= 32
    assert times[1] - times[0] >= ASK_MS


def test_a_known_part_of_a_payload_is_told_and_the_other_said(host):
    said = host.hear("g/NDATA/n", {"alias": 9, "int_value": 1}, {"name": "t", "double_value": 1.0}, {"name": "n", "int_value": 200}).said
    assert said.documents == [{"t": 1.0}]
    assert said.defects == ["alias 9: its birth was not heard", "'n': int_value without its data type"]


def test_nodes_are_asked_a_few_at_a_time(host):
    for number in range(50):
        host.hear(f"g/NDATA/{number}", {"alias": 3, "int_value": 200})
    assert [len(list(host.nodes.asked(T, 20))) for _ in range(4)] == [20, 20, 10, 0]


# tck-id-operational-behavior-data-commands-ncmd-rebirth-verb, -name, -value; tck-id-payloads-ncmd-timestamp
def test_a_rebirth_request_is_as_specified():
    message = PAYLOAD.FromString(rebirth(T))
    (metric,) = message.metrics
    assert (metric.name, metric.datatype, metric.boolean_value, message.timestamp) == (b"Node Control/Rebirth", BOOLEAN, True, T)
    assert not message.HasField("seq")
    assert not metric.HasField("alias")


# tck-id-operational-behavior-edge-node-termination-host-action-ndeath-node-offline, -devices-offline
def test_a_nodes_death_takes_it_and_its_devices_offline_as_of_its_receipt(host):
    host.born(7)
    host.device_born()
    host.hear("g/DDATA/n/never-born", {"name": "t", "double_value": 1.0}, seq=2)
    host.at += 5
    assert set(host.hear("g/NDEATH/n", bd_seq(7), timestamp=T - 1000).gone) == {(name, T + 5) for name in ("", "d", "never-born")}


# -ndeath-node-tags-stale, -devices-tags-stale: what was born is not read by after death
def test_after_a_death_aliases_mean_nothing(host):
    host.born(7)
    host.device_born()
    host.hear("g/NDEATH/n", bd_seq(7))
    assert host.hear("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}, seq=2).said.untold
    assert host.asked() == [NODE]


# tck-id-payloads-ndeath-bdseq: a death is the end of the birth that has its bdSeq
def test_a_death_of_an_earlier_session_is_nobodys(host):
    host.born(7)
    host.born(8)
    host.device_born()
    assert host.hear("g/NDEATH/n", bd_seq(7)).gone == ()
    assert host.documents("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}, seq=2)


# -ndeath-node-offline has no condition: a death that lacks what it is told by is that of the session there is
@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [{"name": "bdSeq", "datatype": DataType.INT64, "is_null": True}],
        [{"name": "bdSeq", "datatype": DataType.STRING, "string_value": b"7"}],
        [{"name": "other", "datatype": DataType.INT64, "long_value": 1}],
    ],
)
def test_a_death_without_its_number_takes_the_node_and_its_devices_offline(host, metrics):
    host.born(7)
    host.device_born()
    assert dict(host.hear("g/NDEATH/n", *metrics).gone) == {"": T, "d": T}
    assert host.hear("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}, seq=2).said.untold


def test_a_death_of_a_session_whose_birth_was_not_heard_takes_the_node_offline_and_an_old_one_does_not(host):
    host.born(7)
    assert host.hear("g/NDEATH/n", bd_seq(7)).gone
    host.hear("g/NDATA/n", {"name": "t", "double_value": 1.0}, seq=1)
    assert host.hear("g/NDEATH/n", bd_seq(7)).gone == ()
    assert host.hear("g/NDEATH/n", bd_seq(8)).gone
    assert host.hear("g/NDEATH/n", bd_seq(8)).gone == ()
    host.hear("g/NDATA/n", {"name": "t", "double_value": 1.0}, seq=1)
    assert host.hear("g/NDEATH/n", bd_seq(8)).gone == ()
    host.born(9)
    assert host.hear("g/NDEATH/n", bd_seq(8)).gone == ()
    assert host.hear("g/NDEATH/n", bd_seq(9)).gone


def test_a_second_death_is_ignored(host):
    host.born(7)
    assert host.hear("g/NDEATH/n", bd_seq(7)).gone
    assert host.hear("g/NDEATH/n", bd_seq(7)).gone == ()


def test_a_death_of_a_node_never_heard_names_it_and_remembers_nothing(host):
    assert host.hear("g/NDEATH/n", bd_seq(0)).gone == (("", T),)
    assert len(host.nodes) == 0


# tck-id-operational-behavior-edge-node-termination-host-action-ddeath-devices-offline, -tags-stale: as of the payload's timestamp
def test_a_devices_death_takes_it_alone_offline_as_of_its_time(host):
    host.born()
    host.device_born()
    assert host.hear("g/DDEATH/n/d", timestamp=T - 3, seq=2).gone == (("d", T - 3),)
    assert host.hear("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}, seq=3).said.untold


def test_a_death_is_not_in_the_future(host):
    assert host.hear("g/DDEATH/n/d", timestamp=T + 3).gone == (("d", T),)


# section 4.3.1: after an NBIRTH devices are stale until they are born again
def test_another_session_whose_predecessors_death_was_lost_takes_devices_offline_and_a_rebirth_does_not(host):
    host.born(7)
    host.device_born()
    assert host.born(7).gone == ()
    assert host.hear("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}, seq=1).said.untold
    host.device_born()
    assert host.born(8).gone == (("d", T),)


def test_a_birth_that_tells_what_was_told_before_is_no_new_reading(host):
    host.born()
    assert host.device_born().said.documents
    host.born()
    assert host.device_born(timestamp=T + 9).said.documents == []
    host.hear("g/DDATA/n/d", {"alias": 3, "int_value": 5, "timestamp": T + 10}, seq=2)
    host.born()
    again = {"name": "temperature", "alias": 3, "datatype": INT32, "timestamp": T + 10}
    assert host.documents("g/DBIRTH/n/d", again | {"int_value": 5}, seq=1, timestamp=T + 20) == []
    assert host.documents("g/DBIRTH/n/d", again | {"int_value": 6}, seq=2) == [{"temperature": 6, "timestamp": T + 10, "sequence": 2}]


def test_a_birth_that_is_sent_again_as_it_was_not_taken_tells_the_same(host):
    host.born()
    first = host.device_born().said.documents
    assert host.device_born().said.documents == first


def test_control_metrics_are_no_data(host):
    assert host.born().said.documents == []


def test_members_of_the_envelope_are_not_overwritten_by_metrics_of_their_names(host):
    names = ("timestamp", "sequence", "message_id", "properties")
    document = host.documents("g/NDATA/n", *({"name": name, "double_value": 1.0} for name in names), timestamp=T, seq=4)
    assert document == [{f"metric/{name}": 1.0 for name in names} | {"timestamp": T, "sequence": 4}]


# tck-id-payloads-propertyset-quality-value-value: 0 is bad, 500 stale
@pytest.mark.parametrize(("quality", "told"), [(192, 5.0), (0, {"value": 5.0, "quality": 0}), (500, {"value": 5.0, "quality": 500})])
@pytest.mark.parametrize("field", ["int_value", "long_value"])
def test_a_value_of_no_good_quality_is_no_measurement(host, quality, told, field):
    properties = {"keys": [b"Quality"], "values": [{"type": 3, field: quality}]}
    (document,) = host.documents("g/NDATA/n", {"name": "t", "double_value": 5.0, "properties": properties})
    assert document == {"t": told, "properties": {"t": {"Quality": quality}}}


def test_what_is_said_beside_a_value_is_kept(host):
    metadata = {"content_type": b"text/plain", "size": 3}
    (document,) = host.documents("g/NDATA/n", {"name": "f", "datatype": DataType.FILE, "bytes_value": b"abc", "metadata": metadata})
    assert document == {"f": "616263", "metadata": {"f": {"content_type": "text/plain", "size": 3}}}
    assert host.documents("g/NDATA/n", uuid=b"u", body=b"\xff") == [{"uuid": "u", "body": "ff"}]


def test_a_name_that_is_no_text_costs_its_metric_alone(host):
    message = PAYLOAD()
    message.metrics.add(name=b"\xff", double_value=1.0)
    message.metrics.add(name=b"t", double_value=1.0)
    heard, _ = host.nodes.hear("default", speaker("spBv1.0/g/NDATA/n"), message.SerializeToString(), T)
    assert heard.said.documents == [{"t": 1.0}]
    assert heard.said.defects == ["metric 1: a metric's name is no UTF-8: byte 0 of 1"]


# -- a restart


def test_aliases_survive_a_restart_and_what_may_be_missed_is_asked_for_once(host):
    host.born(7)
    host.device_born()
    successor = host.restarted()
    told = {"alias": 3, "int_value": MINUS_12, "timestamp": T}
    assert successor.documents("g/DDATA/n/d", told, seq=9) == [{"temperature": -12, "timestamp": T, "sequence": 9}]
    assert successor.asked() == [NODE]
    successor.born(7)
    assert successor.device_born(timestamp=T + 1).said.documents == []
    successor.hear("g/DDATA/n/d", {"alias": 3, "int_value": 1}, seq=2)
    assert successor.asked(later=100 * ASK_MS) == []


def test_a_death_after_a_restart_is_told_by_its_number(host):
    host.born(7)
    host.device_born()
    assert host.restarted().hear("g/NDEATH/n", bd_seq(6)).gone == ()
    assert {name for name, _ in host.restarted().hear("g/NDEATH/n", bd_seq(7)).gone} == {"", "d"}


def test_a_device_of_an_earlier_session_is_not_remembered_as_born(host):
    host.born(7)
    host.device_born()
    host.born(8)
    assert host.restarted().hear("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}).said.untold


def test_what_another_gateway_heard_just_now_is_as_good(host):
    host.born(7)
    host.device_born()
    other = Host(in_order=False)
    for birth in host.kept:
        other.nodes.recall(birth, fresh=True)
    assert other.documents("g/DDATA/n/d", {"alias": 3, "int_value": MINUS_12}, seq=2) == [{"temperature": -12, "sequence": 2}]
    assert other.asked(later=ASK_MS) == []


# -- bounds


def test_edge_nodes_are_bounded_by_number_for_each_tenant():
    host = Host(most_nodes=10)
    for number in range(25):
        host.hear(f"g/NBIRTH/{number}", {"name": "a", "alias": 1, "datatype": INT32, "int_value": 1})
    host.hear("g/NBIRTH/0", {"name": "a", "alias": 1, "datatype": INT32, "int_value": 1}, tenant="harbour")
    assert len(host.nodes) == 11
    assert host.documents("g/NDATA/24", {"alias": 1, "int_value": 200}) == [{"a": 200}]
    assert host.hear("g/NDATA/0", {"alias": 1, "int_value": 200}).said.untold


def test_edge_nodes_are_bounded_by_what_their_births_take():
    host = Host(most_bytes=350_000)
    for number in range(20):
        host.hear(f"g/NBIRTH/{number}", *({"name": f"m{metric}", "alias": metric, "datatype": INT32} for metric in range(100)))
    assert len(host.nodes) == 3


def test_metrics_of_a_birth_are_bounded_and_the_rest_is_said(host):
    said = host.born(0, *({"name": f"m{number}", "alias": number, "datatype": INT32} for number in range(MEMBERS))).said
    assert said.defects == [f"{MEMBERS + 2} metrics, of which {MEMBERS} are remembered"]


def test_documents_of_a_payload_are_bounded_and_said(host):
    said = host.hear("g/NDATA/n", *({"name": "t", "double_value": 1.0, "timestamp": T + number} for number in range(MOST + 1))).said
    assert said.documents == []
    assert said.defects == [f"values of {MOST + 1} times, at most {MOST} are read of one payload"]


# -- anything at all


TOPICS = [f"spBv1.0/g/{kind}/n" for kind in ("NBIRTH", "NDATA", "NDEATH")] + [
    f"spBv1.0/g/{kind}/n/d" for kind in ("DBIRTH", "DDATA", "DDEATH")
]
SMALL = st.integers(0, 40)
METRIC = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from([b"a", b"\xff", b"bdSeq", b"timestamp"]),
        "alias": SMALL,
        "timestamp": st.integers(0, 2**64 - 1),
        "datatype": st.integers(0, 40),
        "is_historical": st.booleans(),
        "is_null": st.booleans(),
    },
)
VALUE = st.one_of(
    st.fixed_dictionaries({"int_value": st.integers(0, 2**32 - 1)}),
    st.fixed_dictionaries({"long_value": st.integers(0, 2**64 - 1)}),
    st.fixed_dictionaries({"double_value": st.floats()}),
    st.fixed_dictionaries({"string_value": st.binary(max_size=4)}),
    st.fixed_dictionaries({"bytes_value": st.binary(max_size=9)}),
    st.just({"template_value": {"metrics": [{"name": b"x", "int_value": 3}]}}),
    st.just({"dataset_value": {"columns": [b"c"], "types": [3], "rows": [{"elements": [{"int_value": 1}]}]}}),
    st.just({}),
)
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda metrics, fields: PAYLOAD(metrics=[one | value for one, value in metrics], **fields).SerializeToString(),
        st.lists(st.tuples(METRIC, VALUE), max_size=4),
        st.fixed_dictionaries({}, optional={"seq": st.integers(0, 2**64 - 1), "timestamp": st.integers(0, 2**64 - 1)}),
    ),
)


@given(st.lists(st.tuples(st.sampled_from(TOPICS), PAYLOADS), max_size=8))
def test_no_payload_does_more_than_be_told(messages):
    nodes = Nodes()
    for at, (topic, content) in enumerate(messages):
        try:
            heard, birth = nodes.hear("t", speaker(topic), content, T + at)
        except DecodeError:
            continue
        assert all(type(document) is dict for document in heard.said.documents)
        if birth is not None:
            Nodes().recall(birth, fresh=False)
        list(nodes.asked(T + at, 10))
