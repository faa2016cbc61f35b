import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalog import CONTRACTS
from schemas.changes import changes
from schemas.codec import Codec
from schemas.evolution import Incompatible, project
from schemas.resolution import unreadable

ID = {"name": "id", "type": "string"}
VALUE = {"name": "value", "type": "int"}
COLOURS = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}


def codec(*fields, name="Reading"):
    return Codec(json.dumps({"type": "record", "name": name, "fields": list(fields)}))


def changed(old, new):
    """What, meaning and whether it breaks, of the one change of a field."""
    (change,) = changes(codec(ID, *old), codec(ID, *new))
    return change.what, change.means, change.breaks


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_schema_does_not_differ_from_itself(name):
    assert changes(CONTRACTS[name].codec, CONTRACTS[name].codec) == []


def test_a_field_added_with_a_default_is_read_with_it():
    what, means, breaks = changed([], [{"name": "plant", "type": ["null", "string"], "default": None}])
    assert (what, breaks) == ("added, null or string", False)
    assert "older records are read with null" in means


def test_a_field_added_without_a_default_breaks():
    assert changed([], [VALUE])[2]


def test_a_dropped_field_says_what_older_readers_make_of_it():
    assert "bring readers up to date before writers" in changed([VALUE], [])[1]
    assert "older readers read newer records with 7" in changed([VALUE | {"default": 7}], [])[1]
    assert not changed([VALUE], [])[2]


def test_a_type_may_widen_and_not_narrow():
    assert changed([VALUE], [VALUE | {"type": "double"}])[::2] == ("int → double", False)
    assert changed([VALUE | {"type": "double"}], [VALUE])[::2] == ("double → int", True)


def test_a_default_changes_what_is_read_and_nothing_breaks():
    assert changed([VALUE | {"default": 1}], [VALUE | {"default": 2}])[::2] == ("default 1 → 2", False)


def test_another_unit_breaks():
    unit = {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    assert changed([unit], [{"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}])[2]


def test_a_field_number_of_protobuf_comes_and_never_changes():
    assert not changed([VALUE], [VALUE | {"field_number": 3}])[2]
    assert changed([VALUE | {"field_number": 3}], [VALUE | {"field_number": 4}])[2]
    assert changed([VALUE | {"field_number": 3}], [VALUE])[2]


def test_another_name_of_the_record_and_a_schema_that_reads_nothing_break():
    assert [change.breaks for change in changes(codec(ID), codec(ID, name="Other"))] == [True]
    assert [change.breaks for change in changes(codec(ID), Codec('"string"'))] == [True]


def decimal(scale, precision=9):
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def at(unit):
    return {"type": "long", "logicalType": f"timestamp-{unit}"}


def record(name, *fields, **more):
    return {"type": "record", "name": name, "fields": list(fields), **more}


INSIDE = [
    lambda node: node,
    lambda node: ["null", node],
    lambda node: {"type": "array", "items": node},
    lambda node: {"type": "map", "values": ["null", node]},
    lambda node: record("Inner", {"name": "x", "type": {"type": "array", "items": record("Innermost", {"name": "y", "type": node})}}),
]


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize(
    ("wrote", "reads"),
    [
        (decimal(2), decimal(4)),
        (decimal(2), decimal(2, precision=12)),
        (decimal(2) | {"type": "fixed", "name": "D", "size": 8}, decimal(3) | {"type": "fixed", "name": "D", "size": 8}),
        (at("millis"), at("micros")),
        ({"type": "int", "logicalType": "time-millis"}, {"type": "long", "logicalType": "time-micros"}),
    ],
)
def test_another_unit_or_scale_breaks_however_deep_it_is(inside, wrote, reads):
    was, now = (codec(ID, {"name": "v", "type": inside(node)}) for node in (wrote, reads))
    assert any(change.breaks and "the same numbers would mean something else" in change.means for change in changes(was, now))
    assert not changes(was, was)
    with pytest.raises(Incompatible, match="which is not read as"):
        project(was, now)


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("node", [decimal(2), at("millis"), at("micros"), {"type": "int", "logicalType": "date"}])
def test_a_unit_that_comes_or_goes_leaves_the_numbers_as_they_are_and_breaks_nothing(inside, node):
    with_unit, without = (codec(ID, {"name": "v", "type": inside(each)}) for each in (node, node["type"]))
    for was, now in ((with_unit, without), (without, with_unit)):
        (change,) = changes(was, now)
        assert (change.means.startswith("values are read as they are"), change.breaks) == (True, False)
        project(was, now)


def test_a_unit_is_told_although_a_field_before_it_needs_the_slow_reader():
    was = codec({"name": "a", "type": "bytes"}, {"name": "t", "type": at("millis")})
    now = codec({"name": "a", "type": "string"}, {"name": "t", "type": at("micros")})
    with pytest.raises(Incompatible, match="t was written as timestamp-millis"):
        project(was, now)


def test_a_named_type_used_twice_has_its_unit_at_both_places():
    def twice(unit):
        return codec({"name": "a", "type": record("P", {"name": "t", "type": at(unit)})}, {"name": "b", "type": "P"})

    assert [change.field for change in changes(twice("millis"), twice("micros")) if change.breaks] == ["a.t", "b.t"]


def test_a_field_renamed_with_an_alias_is_read_as_the_old_one():
    was, now = {"name": "temp", "type": "double"}, {"name": "temperature", "type": "double", "aliases": ["temp"]}
    for default in ({}, {"default": 0.0}):
        found = changes(codec(ID, was), codec(ID, now | default))
        assert (found[0].field, found[0].what) == ("temperature", "renamed from temp")
        assert "older records' temp is read as it" in found[0].means
        assert not any(change.breaks for change in found)
    assert any(change.breaks for change in changes(codec(ID, was), codec(ID, now | {"type": "string"})))


def test_a_record_renamed_with_an_alias_is_read_as_the_old_one():
    was, now = codec(ID, name="ConnectDefault"), Codec(json.dumps(record("Reading", ID, aliases=["ConnectDefault"])))
    assert [(change.what, change.breaks) for change in changes(was, now)] == [("ConnectDefault → Reading", False)]
    assert "older records are read as Reading" in changes(was, now)[0].means
    other = Codec(json.dumps(record("Reading", ID, aliases=["SomethingElse"])))
    assert [change.breaks for change in changes(was, other)] == [True]


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize(
    "node", [record("G", {"name": "y", "type": "long"}), COLOURS, {"type": "fixed", "name": "F", "size": 2}], ids=lambda node: node["type"]
)
def test_a_nested_type_renamed_breaks_unless_the_reader_has_an_alias(inside, node):
    renamed = node | {"name": "H"}
    was, now = codec(ID, {"name": "v", "type": inside(node)}), codec(ID, {"name": "v", "type": inside(renamed)})
    known = codec(ID, {"name": "v", "type": inside(renamed | {"aliases": [node["name"]]})})
    assert any(change.breaks for change in changes(was, now))
    assert not any(change.breaks for change in changes(was, known))


def test_another_namespace_is_a_change_that_does_not_break():
    was, now = (Codec(json.dumps(record("Reading", ID, namespace=name))) for name in ("old.place", "new.place"))
    assert [(change.what, change.breaks) for change in changes(was, now)] == [("old.place.Reading → new.place.Reading", False)]


@pytest.mark.parametrize(
    ("wrote", "reads", "misread"),
    [
        ("int", "long", False),
        ("long", "int", True),
        ("string", "bytes", False),
        ("bytes", "string", False),
        ("int", ["null", "long"], False),
        (["null", "int"], "int", True),
        (["null", "int"], ["long", "null"], False),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "double"}, False),
        ({"type": "map", "values": "string"}, {"type": "map", "values": "int"}, True),
        ({"type": "map", "values": "string"}, {"type": "array", "items": "string"}, True),
        (COLOURS, COLOURS | {"symbols": ["GREEN", "RED", "BLUE"]}, False),
        (COLOURS, COLOURS | {"symbols": ["RED"]}, True),
        (COLOURS, COLOURS | {"symbols": ["RED"], "default": "RED"}, False),
        ({"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 3}, True),
        ({"type": "record", "name": "P", "fields": [ID]}, {"type": "record", "name": "P", "fields": [ID, VALUE]}, True),
        ({"type": "record", "name": "P", "fields": [ID, VALUE]}, {"type": "record", "name": "P", "fields": [ID]}, False),
    ],
)
def test_what_a_type_can_be_read_as(wrote, reads, misread):
    assert unreadable(wrote, reads) is misread


types = st.recursive(
    st.sampled_from(["null", "boolean", "int", "long", "float", "double", "string", "bytes"]),
    lambda inner: st.one_of(
        inner.map(lambda node: {"type": "array", "items": node}), inner.map(lambda node: {"type": "map", "values": node})
    ),
    max_leaves=3,
)


@given(types)
def test_every_type_reads_itself_and_as_one_that_may_be_null(node):
    assert not unreadable(node, node)
    if node != "null":
        assert not unreadable(node, ["null", node])
        assert unreadable(["null", node], node)
