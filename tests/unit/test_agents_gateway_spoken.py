"""What a gateway makes of Sparkplug's messages: envelopes, presence, births to be kept, and rejects."""

import orjson
import pytest

from agents.gateway.duplicates import Duplicates
from agents.gateway.envelopes import Delivery, envelop
from agents.gateway.fleet import Fleet
from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.message import Post, Sender, Source, Verdict
from agents.gateway.place import ENVELOPE, Place
from agents.gateway.sparkplug.nodes import birth_row
from agents.gateway.sparkplug.wire import PAYLOAD, DataType
from agents.gateway.terms import Policy, Terms
from schemas.catalog import CONTRACTS
from schemas.reference import read_record
from schemas.rejects import Reason
from streams.rounds import assemble

T = 1_790_000_000_000
IDS = dict.fromkeys(CONTRACTS, 5)
BD_SEQ = {"name": "bdSeq", "datatype": DataType.INT64, "long_value": 0}
TEMPERATURE = {"name": "temperature", "alias": 3, "datatype": DataType.INT32, "int_value": 0xFFFFFFF4}


def post(topic, *metrics, **fields):
    message = PAYLOAD(**fields)
    for metric in metrics:
        message.metrics.add(**metric | {"name": metric["name"].encode()} if "name" in metric else metric)
    return Post(f"spBv1.0/{topic}", message.SerializeToString(), 0)


def place(policy=Policy.ACCEPT, *rows, tenants=frozenset()):
    made = Place("gw-1", "run", "city", tenants, fleet=Fleet("gw-1", Terms(unknown=policy)))
    made.adopt(Routes([*DEFAULT, *rows]))
    return made


def take(where, *posts, at=T, source=Source.MQTT):
    return envelop([Delivery(posts, source, Sender(), at)], where, 5, at)


def read(made):
    return [(row["device_id"], orjson.loads(row["data"])) for row in (read_record(ENVELOPE, value) for value in made.values)]


def status(where, device):
    each = where.fleet.devices["city", device]
    each.fold()
    return "offline" if each.offline_at else "online"


def test_data_has_the_name_and_sign_that_its_birth_told():
    where = place()
    take(where, post("g/NBIRTH/e", BD_SEQ, seq=0), post("g/DBIRTH/e/d", TEMPERATURE, seq=1))
    made = take(where, post("g/DDATA/e/d", {"alias": 3, "int_value": 0xFFFFFFF4}, seq=2, timestamp=T))
    assert read(made) == [("g~e~d", {"temperature": -12, "timestamp": T, "sequence": 2})]


def test_devices_of_one_name_under_two_nodes_or_groups_are_as_many_devices():
    where = place()
    made = take(
        where, *(post(f"{topic}/sensor1", {"name": "t", "double_value": 4.0}) for topic in ("g/DDATA/e1", "g/DDATA/e2", "h/DDATA/e1"))
    )
    assert [device for device, _ in read(made)] == ["g~e1~sensor1", "g~e2~sensor1", "h~e1~sensor1"]
    assert {device for _, device in where.fleet.devices} == {"g~e1~sensor1", "g~e2~sensor1", "h~e1~sensor1"}


def test_readings_of_several_times_are_envelopes_of_their_own_each_with_an_id_and_a_mark():
    samples = [
        {"name": "t", "datatype": DataType.DOUBLE, "double_value": value, "timestamp": T - ago} for value, ago in ((4.0, 2), (45.0, 1))
    ]
    where = place()
    message = post("g/DDATA/e/d", *samples, timestamp=T, seq=7)
    made = take(where, message)
    rows = [read_record(ENVELOPE, value) for value in made.values]
    assert [orjson.loads(row["data"])["t"] for row in rows] == [4.0, 45.0]
    assert [row["message_id"] for row in rows] == [f"spBv1.0/g/DDATA/e/d#7@{T}", f"spBv1.0/g/DDATA/e/d#7@{T}.1"]
    assert made.rows == [0, 0]
    assert take(where, message).marks == made.marks
    assert len(set(made.marks)) == 2


def test_a_number_that_comes_again_after_255_messages_is_another_message():
    where, value = place(), {"name": "t", "double_value": 1.0}
    first, later = post("g/NDATA/e", value, seq=7, timestamp=T), post("g/NDATA/e", value, seq=7, timestamp=T + 256)
    without = post("g/NDATA/e", value, seq=7)
    a, b, c, d = take(where, first, later, without, without).marks
    assert a != b
    assert c is None is d


def test_a_birth_is_kept_with_what_it_tells():
    made = take(place(), post("g/NBIRTH/e", BD_SEQ, TEMPERATURE, seq=0))
    ((row, birth),) = made.births
    assert (row, made.rows) == (0, [0])
    told = birth_row(birth, "gw-1", T)
    assert (told["birth_key"], told["topic"], told["tenant_id"]) == ("city/g~e", "spBv1.0/g/NBIRTH/e", "city")


@pytest.mark.parametrize("topic", ["g/NCMD/e", "g/DCMD/e/d", "STATE/scada"])
def test_what_a_host_says_is_no_data_and_no_sign_of_life(topic):
    where = place()
    made = take(where, post(topic, {"name": "temperature", "double_value": 66.0}))
    assert (made.values, made.rejects, made.coalesced) == ([], [], [0])
    assert not where.fleet.devices


def test_a_host_is_no_device_whatever_the_mapping_says():
    where = place(Policy.ACCEPT, Row(pattern="spBv1.0/g/#", topic="iot.devices.raw", data_type="pump", device="d"))
    assert take(where, post("g/DCMD/e/d", {"name": "t", "double_value": 66.0})).coalesced == [0]
    assert not where.fleet.devices


@pytest.mark.parametrize("topic", ["zigbee2mqtt/heater/set", "zigbee2mqtt/heater/get", "cmnd/plug/POWER", "cmnd/plug", "homie/a/b/c/set"])
def test_commands_of_other_hosts_are_no_sign_of_life(topic):
    where = place()
    made = take(where, Post(topic, b'{"state":"ON"}'))
    assert (made.values, made.rejects, made.coalesced) == ([], [], [0])
    assert not where.fleet.devices


def test_a_death_takes_the_node_and_its_devices_offline_and_a_birth_brings_back_who_is_born():
    where = place()
    take(where, post("g/NBIRTH/e", BD_SEQ, seq=0), post("g/DBIRTH/e/d", TEMPERATURE, seq=1), post("g/DBIRTH/e/c", TEMPERATURE, seq=2))
    made = take(where, post("g/NDEATH/e", BD_SEQ), at=T + 1)
    assert (made.values, made.rejects, made.coalesced) == ([], [], [0])
    assert {status(where, device) for device in ("g~e", "g~e~d", "g~e~c")} == {"offline"}
    take(where, post("g/NBIRTH/e", BD_SEQ, seq=0), post("g/DBIRTH/e/d", TEMPERATURE, seq=1), at=T + 2)
    assert [status(where, device) for device in ("g~e", "g~e~d", "g~e~c")] == ["online", "online", "offline"]


def test_a_devices_death_takes_it_alone_offline():
    where = place()
    take(where, post("g/NBIRTH/e", BD_SEQ, seq=0), post("g/DBIRTH/e/d", TEMPERATURE, seq=1))
    take(where, post("g/DDEATH/e/d", seq=2, timestamp=T - 5), at=T + 1)
    assert [status(where, device) for device in ("g~e", "g~e~d")] == ["online", "offline"]


@pytest.mark.parametrize("topic", ["g/NDEATH/never", "g/DDEATH/never/d"])
def test_a_death_of_nobody_makes_nobody(topic):
    where = place()
    assert take(where, post(topic, BD_SEQ)).coalesced == [0]
    assert not where.fleet.devices


def test_a_death_finds_devices_that_an_operators_row_calls_otherwise():
    where = place(Policy.ACCEPT, Row(pattern="spBv1.0/+/+/+/+", topic="iot.sparkplug.raw", data_type="sparkplug", device="{4}"))
    take(where, post("g/NBIRTH/e", BD_SEQ, seq=0), post("g/DBIRTH/e/d", TEMPERATURE, seq=1))
    take(where, post("g/NDEATH/e", BD_SEQ), at=T + 1)
    assert status(where, "d") == "offline"


def test_data_of_a_device_is_a_sign_of_life_of_its_node_if_that_is_known():
    where = place()
    take(where, post("g/NBIRTH/e", BD_SEQ, seq=0))
    take(where, post("g/DDATA/e/d", {"name": "t", "double_value": 1.0}, seq=1), at=T + 9)
    assert where.fleet.devices["city", "g~e"].seen_at == T + 9


def test_what_no_birth_told_is_a_dead_letter_and_the_rest_goes_on():
    made = take(place(), post("g/NDATA/e", {"alias": 3, "int_value": 1}, {"name": "t", "double_value": 1.0}))
    assert read(made) == [("g~e", {"t": 1.0})]
    (reject,) = made.rejects
    assert (reject.row, reject.reason, reject.detail) == (0, Reason.UNTOLD_METRIC, "alias 3: its birth was not heard")


def test_what_is_no_payload_goes_on_raw_with_the_reason():
    for topic in ("NDATA", "NBIRTH"):
        (value,) = take(place(), Post(f"spBv1.0/g/{topic}/e", b"\xff\xff")).values
        row = read_record(ENVELOPE, value)
        assert (row["data"], row["data_type"]) == ("ffff", "raw")
        assert row["defect"].startswith("no Sparkplug B payload: ")
    (reject,) = take(place(), Post("spBv1.0/g/NDEATH/e", b"\xff\xff")).rejects
    assert reject.reason is Reason.UNDECODABLE


def test_a_topic_that_the_namespace_has_no_place_for_is_a_dead_letter():
    (reject,) = take(place(), Post("spBv1.0/g/DDATA/e", b"")).rejects
    assert reject.reason is Reason.UNMAPPED_TOPIC
    assert "is not spBv1.0/<group>/<message type>/<edge node>" in reject.detail


@pytest.mark.parametrize("policy", [Policy.REJECT, Policy.QUARANTINE])
def test_an_unknown_node_is_let_in_as_any_device_is(policy):
    where = place(policy)
    made = take(where, post("g/NBIRTH/e", BD_SEQ, TEMPERATURE, seq=0), post("g/DCMD/e/d"), post("g/NDEATH/e", BD_SEQ))
    assert made.coalesced == [1, 2]
    assert [address.topic for address in made.addresses] == (["city.iot.quarantine"] if policy is Policy.QUARANTINE else [])
    assert bool(made.rejects) == (policy is Policy.REJECT)


def test_all_that_a_round_makes_of_messages_is_safe_before_they_are_answered():
    where, duplicates = place(), Duplicates()
    birth = post("g/NBIRTH/e", BD_SEQ, TEMPERATURE | {"timestamp": T}, seq=0, timestamp=T)
    data = post(
        "g/NDATA/e",
        {"alias": 3, "int_value": 5, "timestamp": T + 1},
        {"alias": 9, "int_value": 5},
        {"alias": 3, "int_value": 6},
        seq=1,
        timestamp=T + 2,
    )
    made = assemble([Delivery([birth, data], Source.MQTT, Sender(), T)], where, duplicates, IDS, T)
    topics = [(record.topic, row) for record, row in zip(made.records, made.rows, strict=True)]
    assert topics == [
        ("city.iot.sparkplug.raw", 0),
        ("city.iot.sparkplug.raw", 1),
        ("city.iot.sparkplug.raw", 1),
        ("sparkplug-births", 0),
        ("dead-letters", 1),
    ]
    assert made.verdicts == [Verdict.DELIVERED, Verdict.REJECTED]
    again = assemble([Delivery([birth], Source.MQTT, Sender(), T)], where, duplicates, IDS, T)
    assert again.verdicts == [Verdict.DUPLICATE]
