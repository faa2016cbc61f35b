import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from pydantic import ValidationError

from agents.gateway.identity import Credential, Identities, Kind, Remembered, digest, problem, subjects
from agents.gateway.mapping import DEFAULT, Routes, Row
from agents.gateway.place import Place

LEVEL = st.sampled_from(["a", "b", "lamp-1", "$SYS", "", "x y"])
FILTER = st.lists(LEVEL | st.just("+"), min_size=1, max_size=4).flatmap(
    lambda levels: st.sampled_from(["/".join(levels), "/".join([*levels, "#"])])
)


def credential(**fields):
    given = {"tenant": "acme", "device": "lamp-1", "kind": Kind.TOKEN, "name": "token-1", "secret": digest("secret")}
    return Credential.model_validate(given | fields)


def record(**fields):
    given = credential(**fields)
    return given.model_dump() | {"credential_id": f"{given.tenant}/{given.device}/{given.name}", "applied_by": "ann@desk"}


def known(*records):
    identities = Identities()
    assert list(identities.take(records)) == []
    return identities


@given(FILTER.filter(lambda text: " " not in text and text.split()), st.lists(LEVEL, min_size=1, max_size=5).map("/".join))
def test_a_filter_lets_through_what_an_mqtt_broker_would_deliver_by_it(pattern, topic):
    assert credential(publish=pattern).may_publish(topic) == topic_matches_sub(pattern, topic)


@given(st.lists(FILTER.filter(lambda text: " " not in text and text.split()), max_size=3), st.lists(LEVEL, min_size=1).map("/".join))
def test_of_several_filters_one_is_enough(patterns, topic):
    assert credential(publish=" ".join(patterns)).may_publish(topic) == any(topic_matches_sub(each, topic) for each in patterns)


def test_a_device_may_publish_to_topics_that_name_it_in_their_second_level_unless_its_credential_says_otherwise():
    ours = credential()
    assert ours.may_publish("sensors/lamp-1/temperature")
    assert ours.may_publish("lights/lamp-1")
    assert not ours.may_publish("sensors/lamp-10/temperature")
    assert not ours.may_publish("sensors/lamp-2/lamp-1")
    assert not ours.may_publish("lamp-1/status")


@pytest.mark.parametrize(
    ("publish", "topic", "may"),
    [
        ("+/{device}/#", "spBv1.0/lamp-1/DDATA/edge/manhole-1", True),
        ("+/{device}/#", "own/lamp-1/lamp-2/x", False),
        ("+/{device}/#", "own/lamp-1/lamp-1/x", True),
        ("own/#", "own/lamp-1/lamp-2/x", True),
        ("own/{device}/#", "own/lamp-1/lamp-2/x", False),
        ("+/{device}/# own/lamp-1/#", "own/lamp-1/lamp-2/x", True),
        ("spBv1.0/g/+/{device}/#", "spBv1.0/g/DDATA/lamp-1/d", True),
        ("+/{device}/#", "devices//lamp-1", False),
    ],
)
def test_a_device_is_no_other_by_a_level_of_its_topic_unless_its_credential_speaks_for_others(publish, topic, may):
    place = Place("gw-1", "run", "acme")
    place.adopt(Routes([*DEFAULT, Row(pattern="own/+/+/x", topic="own.x", data_type="own", device="{2}")]))
    assert credential(publish=publish).may_publish(topic, place.speaks_as(topic, "acme")) == may
    assert not place.fleet.devices


def test_an_edge_node_speaks_for_the_devices_under_it_and_for_no_others():
    node, place = credential(device="plant=201~edge"), Place("gw-1", "run", "acme")
    topics = ["plant 1/NBIRTH/edge", "plant 1/DDATA/edge/d", "plant 1/DDATA/other/d", "plant 2/NDATA/edge", "plant 1/NDATA/edge2"]
    may = [node.may_publish(topic, place.speaks_as(topic, "acme")) for topic in (f"spBv1.0/{each}" for each in topics)]
    assert may == [True, True, False, False, False]
    assert node.may_publish("sensors/plant=201~edge/air", "plant=201~edge")


def test_the_place_of_the_device_may_be_part_of_a_level():
    assert credential(publish="groups/of-{device}").may_publish("groups/of-lamp-1")


@pytest.mark.parametrize("publish", ["a/#/b", "a+", "#a", "a b/c#"])
def test_what_is_no_filter_cannot_be_granted(publish):
    with pytest.raises(ValidationError, match="whole levels"):
        credential(publish=publish)


@pytest.mark.parametrize("device", ["", "a/b", "+", "a#", "a b", "{device}", "x" * 201, "a\x00"])
def test_a_device_that_would_be_a_wildcard_or_another_level_has_no_credential(device):
    with pytest.raises(ValidationError):
        credential(device=device)


def test_each_kind_is_found_by_what_proves_it():
    password = record(kind=Kind.PASSWORD, name="password", secret="$argon2id$")
    certificate = record(kind=Kind.CERTIFICATE, name="certificate-1", secret="CN=lamp-1")
    identities = known(password, certificate, record())
    assert identities.find(Kind.PASSWORD, ["acme/lamp-1"]).secret == "$argon2id$"
    assert identities.find(Kind.CERTIFICATE, ["CN=other", "CN=lamp-1"]).device == "lamp-1"
    assert identities.find(Kind.TOKEN, [digest("secret")]).name == "token-1"
    assert identities.find(Kind.TOKEN, ["secret"]) is None
    assert identities.find(Kind.CERTIFICATE, [digest("secret")]) is None


def test_what_is_revoked_or_replaced_lets_nobody_in():
    identities = known(record())
    before = identities.find(Kind.TOKEN, [digest("secret")])
    assert identities.stands(before)
    list(identities.take([record(secret=digest("other"))]))
    assert not identities.stands(before)
    assert identities.find(Kind.TOKEN, [digest("secret")]) is None
    assert identities.find(Kind.TOKEN, [digest("other")]) is not None
    list(identities.take([record(secret=digest("other"), revoked=True)]))
    assert identities.find(Kind.TOKEN, [digest("other")]) is None


def test_the_certificate_given_to_another_device_stays_its_own_when_the_first_loses_it():
    first = {"kind": Kind.CERTIFICATE, "secret": "CN=lamp", "name": "certificate"}
    identities = known(record(**first), record(**first, device="lamp-2"), record(**first, revoked=True))
    assert identities.find(Kind.CERTIFICATE, ["CN=lamp"]).device == "lamp-2"


def test_a_tenant_that_ever_had_a_credential_is_guarded_for_good():
    identities = known(record(), record(revoked=True))
    assert identities.guarded("acme")
    assert not identities.guarded("other")


def test_what_is_no_credential_is_said_without_its_secret_and_what_was_before_it_stays():
    identities = known(record())
    wrong = record() | {"publish": "a/#/b", "secret": "hidden"}
    (said,) = identities.take([wrong])
    assert said.startswith("acme/lamp-1/token-1: ")
    assert "hidden" not in said
    assert identities.find(Kind.TOKEN, [digest("secret")]) is not None


def test_a_certificate_is_known_by_its_common_name_and_its_alternative_names():
    certificate = {
        "subject": ((("organizationName", "City"),), (("commonName", "lamp-1"),)),
        "subjectAltName": (("DNS", "lamp-1.city"), ("URI", "urn:lamp:1")),
    }
    assert subjects(certificate) == ["CN=lamp-1", "DNS=lamp-1.city", "URI=urn:lamp:1"]
    assert subjects({}) == []


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("", "has 1 to 1000 characters, not 0"),
        ("x" * 1001, "has 1 to 1000 characters, not 1001"),
        ("a/+/b", "wildcards are for those who read"),
        ("a/#", "wildcards are for those who read"),
        ("a\x00b", "a character that cannot be printed"),
        ("a\nb", "a character that cannot be printed"),
        ("a\ud800b", "a character that cannot be printed"),
        ("$SYS/broker/load", "the MQTT broker's own"),
        ("$share/g/sensors/x/temperature", "the MQTT broker's own"),
    ],
)
def test_nothing_is_published_to_what_is_no_topic(topic, said):
    assert said in problem(topic)


def test_a_topic_may_be_in_any_script():
    assert problem("路灯/lamp-1/état") is None


def test_a_password_is_remembered_for_a_while_and_only_under_its_hash():
    ours, remembered = credential(kind=Kind.PASSWORD, secret="hash"), Remembered(b"key", seconds=10)
    assert not remembered.knows(ours, "right", 0)
    remembered.keep(ours, "right", 0)
    assert remembered.knows(ours, "right", 9)
    assert not remembered.knows(ours, "wrong", 9)
    assert not remembered.knows(ours.model_copy(update={"secret": "new hash"}), "right", 9)
    assert not remembered.knows(ours, "right", 10)


def test_as_many_passwords_are_remembered_as_there_is_room_for():
    ours, remembered = credential(kind=Kind.PASSWORD, secret="hash"), Remembered(b"key", most=2)
    for password in ("a", "b", "a", "c"):
        remembered.keep(ours, password, 0)
    assert [remembered.knows(ours, password, 1) for password in "abc"] == [True, False, True]
