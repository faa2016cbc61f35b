import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub
from pydantic import ValidationError

from agents.gateway.mapping import DEFAULT, MOST_PREFIXES, Routes, Row
from agents.row_model import Unfit

LEVEL = st.sampled_from(["a", "b", "lights", "x_1"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join)
FILTER = st.lists(st.one_of(LEVEL, st.just("+")), min_size=1, max_size=4).flatmap(
    lambda levels: st.sampled_from(["/".join(levels), "/".join([*levels, "#"])])
)


def target(topic, *rows):
    return Routes([*DEFAULT, *rows]).target(topic)


@pytest.mark.parametrize(
    ("topic", "kafka", "device", "priority"),
    [
        ("sensors/s-1/temperature", "env.temperature.raw", "s-1", "NORMAL"),
        ("sensors/s-1/humidity", "env.humidity.raw", "s-1", "NORMAL"),
        ("lights/l-1/status", "lighting.status.raw", "l-1", "NORMAL"),
        ("parking/p-1/occupancy", "parking.occupancy.raw", "p-1", "NORMAL"),
        ("manhole/m-1/alarm", "infrastructure.manhole.alert", "m-1", "CRITICAL"),
        ("spBv1.0/plant/DDATA/edge-1/pump-3", "iot.sparkplug.raw", "plant~edge-1~pump-3", "NORMAL"),
        ("bins/waste_7/level", "iot.raw.waste", "waste_7", "NORMAL"),
        ("alone", "iot.raw.alone", "alone", "NORMAL"),
    ],
)
def test_messages_go_where_the_requirements_say(topic, kafka, device, priority):
    found = target(topic)
    assert (found.topic, found.device_id, found.priority) == (kafka, device, priority)


@given(FILTER, TOPIC)
def test_a_row_takes_what_its_filter_matches(pattern, topic):
    wildcards = "+" in pattern or "#" in pattern
    row = Row(pattern=pattern, topic="mine", data_type="d", device="{1}" if wildcards else "it")
    try:
        found = Routes([row]).target(topic)
    except Unfit:  # `a/#` takes `a` as well, and then has no name for a device
        assert topic_matches_sub(pattern, topic)
    else:
        assert (found.pattern == pattern) == topic_matches_sub(pattern, topic)


def test_places_are_filled_with_what_wildcards_matched():
    row = Row(pattern="+/bins/+/#", topic="waste.{2}.raw", data_type="waste", device="{2}-{3}", tenant="{1}")
    found = target("parks/bins/b!1/level", row)
    assert (found.topic, found.device_id, found.tenant) == ("waste.b-1.raw", "b!1-level", "parks")


def test_the_row_that_says_more_of_the_first_levels_counts_whatever_their_order():
    rows = [Row(pattern=pattern, topic=f"t{n}", data_type="d") for n, pattern in enumerate(["a/#", "a/+/c", "+/b/c"])]
    assert target("a/b/c", *rows).topic == target("a/b/c", *reversed(rows)).topic == "t1"


def test_a_row_applied_stands_in_the_place_of_one_of_the_code_and_a_retired_one_matches_nothing():
    mine = Row(pattern="lights/+/status", topic="mine", data_type="d")
    assert target("lights/l_1/status", mine).topic == "mine"
    assert target("lights/l_1/status", mine.model_copy(update={"retired": True})).topic == "iot.raw.l"


def kept(routes, topic):
    """Where messages went."""
    target = routes.target(topic)
    routes.keep(target)
    return target.topic


def test_devices_do_not_make_topics_without_end():
    routes = Routes()
    topics = {kept(routes, f"new/{n}x_1/t") for n in range(2 * MOST_PREFIXES)}
    assert len(topics) == MOST_PREFIXES + 1
    assert "iot.raw.others" in topics


def test_what_devices_made_topics_of_is_known_to_the_rows_that_come_after():
    filled = {}
    row = Row(pattern="own/+/x", topic="own.{1}", data_type="d")
    names = {kept(Routes([row], filled), topic) for n in range(2 * MOST_PREFIXES) for topic in (f"own/{n}/x", f"new/{n}x_1/t")}
    assert len(names) == 2 * (MOST_PREFIXES + 1)
    assert {"own.others", "iot.raw.others"} <= names


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("{1}", "before its first dot"),
        ("{1}.raw", "before its first dot"),
        ("my{1}.raw", "before its first dot"),
        ("credentials", "'credentials'"),
        ("city.{1}", "'city.district"),
        ("factory.{1}s", "'factory.readings'"),
        ("city-city-1m-changelog", "changelog"),
    ],
)
def test_no_row_lets_devices_choose_whose_topic_they_write_to(topic, why):
    with pytest.raises(ValidationError, match=why):
        Row(pattern="a/+/b", topic=topic, data_type="d")
    Row(pattern="a/+/b", topic="mine.{1}", data_type="d")
    Row(pattern="a/+/b", topic="env.{1}.raw", data_type="d")


@pytest.mark.parametrize("topic", ["lights//status", "", f"lights/{'x' * 201}/status"])
def test_a_message_without_the_name_of_a_device_has_no_place(topic):
    with pytest.raises(Unfit):
        target(topic)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pattern": "a/#/b"},
        {"pattern": "a+/b"},
        {"topic": "with space"},
        {"device": "{3}"},
        {"priority": "URGENT"},
        {"qos": 3},
        {"layout": "temperature"},
        {"record": "{}"},
        {"record": '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}'},
        {"more": 1},
        {"qos": False},
        {"tenant": "two words"},
        {"tenant": "x" * 61},
    ],
)
def test_a_row_that_cannot_be_is_refused(wrong):
    with pytest.raises((ValidationError, Unfit)):
        Row.model_validate({"pattern": "a/+/b", "topic": "t", "data_type": "d"} | wrong)


def test_what_a_row_says_of_payloads_is_parsed_once_for_all_topics_it_matches():
    text = '{"type": "record", "name": "Lamp", "fields": [{"name": "on", "type": "boolean", "field_number": 1}]}'
    lamps = Row(pattern="lamps/+/state", topic="t", data_type="x", record=text)
    routes = Routes([lamps, Row(pattern="m/+", topic="t", data_type="x", layout="level:u1")])
    for pattern, name in (("lamps/{}/state", "record"), ("m/{}", "layout")):
        found = [getattr(routes.target(pattern.format(number)), name) for number in range(100)]
        assert found[0] is not None
        assert all(each is found[0] for each in found)
