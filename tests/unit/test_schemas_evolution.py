import json
from io import BytesIO

import fastavro
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.rejects import Reason
from schemas.wire import Codec, decode

LONG_MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
LONG_MICROS = {"type": "long", "logicalType": "timestamp-micros"}
COLOURS = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def codec(*fields, name="Reading", **more):
    return Codec(json.dumps({"type": "record", "name": name, "fields": list(fields), **more}))


def written(writer, *data):
    values = []
    for datum in data:
        body = BytesIO(b"\x00\x00\x00\x00\x07")
        body.seek(5)
        fastavro.schemaless_writer(body, writer.written, datum)
        values.append(body.getvalue())
    return values


def read(writer, reader, *data):
    return decode(written(writer, *data), reader, {7: writer})


OLD = codec(field("id", "string"), field("value", "int"))
NEW = codec(field("id", "string"), field("value", "double"), field("place", "string", default="hall-1"))


def test_a_field_an_older_writer_lacks_takes_its_default():
    assert read(OLD, NEW, {"id": "a", "value": 1}, {"id": "b", "value": 2}).frame.rows() == [
        (0, "a", 1.0, "hall-1"),
        (1, "b", 2.0, "hall-1"),
    ]


def test_a_field_a_newer_writer_added_is_dropped():
    writer = codec(field("id", "string"), field("extra", "long"), field("value", "int"))
    assert read(writer, OLD, {"id": "a", "extra": 5, "value": 1}).frame.rows() == [(0, "a", 1)]


def test_fields_in_another_order_are_the_readers():
    writer = codec(field("value", "int"), field("id", "string"))
    assert read(writer, OLD, {"id": "a", "value": 1}).frame.columns == ["row", "id", "value"]


@pytest.mark.parametrize(
    ("default", "kind", "becomes"),
    [
        ({}, {"type": "map", "values": "string"}, {}),
        ({"a": 1}, {"type": "map", "values": "long"}, {"a": 1}),
        ([1, 2], {"type": "array", "items": "long"}, [1, 2]),
        (None, ["null", "string"], None),
        ("x", ["string", "null"], "x"),
        ("RED", COLOURS, "RED"),
        ("\u00ff", "bytes", b"\xff"),
        ({"lat": 1.5}, {"type": "record", "name": "Point", "fields": [field("lat", "double")]}, {"lat": 1.5}),
        (0, LONG_MILLIS, 0),
        (False, "boolean", False),
    ],
)
def test_defaults_of_any_type_are_filled_in(default, kind, becomes):
    reader = codec(field("id", "string"), field("added", kind, default=default))
    assert read(codec(field("id", "string")), reader, {"id": "a"}, {"id": "b"}).frame["added"].to_list() == [becomes, becomes]


@pytest.mark.parametrize(
    ("wrote", "reads", "value", "becomes"),
    [
        ("int", "long", 5, 5),
        ("int", "float", 5, 5.0),
        ("int", "double", -5, -5.0),
        ("long", "float", 2**40, float(2**40)),
        ("long", "double", 2**62, float(2**62)),
        ("float", "double", 1.5, 1.5),
        ("string", "bytes", "é", "é".encode()),
        ("bytes", "string", "é".encode(), "é"),
        ("int", ["null", "long"], 5, 5),
        (["null", "int"], "long", 5, 5),
        ("long", LONG_MILLIS, 5, 5),
        (["null", "long", "string"], "long", 5, 5),
        ({"type": "array", "items": "int"}, {"type": "array", "items": "long"}, [1, 2], [1, 2]),
        ({"type": "map", "values": "int"}, {"type": "map", "values": ["null", "double"]}, {"a": 1}, {"a": 1.0}),
        (COLOURS, COLOURS | {"symbols": ["GREEN", "RED"]}, "RED", "RED"),
        (COLOURS, COLOURS | {"symbols": ["OTHER"], "default": "OTHER"}, "RED", "OTHER"),
    ],
)
def test_promotions_keep_the_value(wrote, reads, value, becomes):
    decoded = read(codec(field("v", wrote)), codec(field("v", reads)), {"v": value})
    assert decoded.rejects == []
    assert decoded.frame["v"].to_list() == [becomes]


@pytest.mark.parametrize(
    ("wrote", "reads", "value"),
    [
        ("double", "long", 1.5),
        ("string", "double", "1.5"),
        ("string", {"type": "array", "items": "string"}, "x"),
        ({"type": "map", "values": "string"}, {"type": "map", "values": "long"}, {"a": "b"}),
        (COLOURS, COLOURS | {"symbols": ["BLUE"]}, "RED"),
        (LONG_MICROS, LONG_MILLIS, 5),
        (["null", "long", "string"], "long", "x"),
    ],
)
def test_a_type_that_cannot_be_read_as_the_readers_rejects_its_rows(wrote, reads, value):
    decoded = read(codec(field("v", wrote)), codec(field("v", reads)), {"v": value})
    assert [reject.reason for reject in decoded.rejects] == [Reason.INCOMPATIBLE_SCHEMA]


def test_a_missing_field_without_default_rejects_its_rows_and_says_which():
    decoded = read(codec(field("id", "string")), OLD, {"id": "a"}, {"id": "b"})
    assert [(reject.row, reject.reason, reject.detail) for reject in decoded.rejects] == [
        (row, Reason.INCOMPATIBLE_SCHEMA, "the writer has no field value, and it has no default") for row in (0, 1)
    ]


@pytest.mark.parametrize("reads", ["long", "double", LONG_MILLIS])
def test_null_where_the_reader_has_none_rejects_just_its_row(reads):
    decoded = read(codec(field("v", ["null", "long"])), codec(field("v", reads)), {"v": 1}, {"v": None}, {"v": 3})
    assert decoded.frame["row"].to_list() == [0, 2]
    assert [(reject.row, reject.reason, reject.detail) for reject in decoded.rejects] == [(1, Reason.NULL_FIELD, "v is null")]


def test_null_in_a_union_of_three_rejects_just_its_row():
    decoded = read(codec(field("v", ["null", "string", "long"])), codec(field("v", "long")), {"v": 1}, {"v": None})
    assert [(reject.row, reject.reason, reject.detail) for reject in decoded.rejects] == [(1, Reason.NULL_FIELD, "v is null")]


def test_a_renamed_field_is_found_by_its_alias():
    reader = codec(field("device_id", "string", aliases=["id"]), field("value", "int"))
    assert read(OLD, reader, {"id": "a", "value": 1}).frame.rows() == [(0, "a", 1)]


def test_writers_whose_fields_the_bulk_decoder_cannot_take_are_read_by_fastavro():
    writer = codec(
        field("id", "string"),
        field("exact", {"type": "fixed", "name": "Exact", "size": 2}),
        field("price", {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}),
        field("any", ["string", "long"]),
        field("value", "int"),
    )
    datum = {"id": "a", "exact": b"xy", "price": b"\x01", "any": 5, "value": 1}
    values = written(writer, datum, datum)
    decoded = decode([values[0], values[1][:-1]], OLD, {7: writer})
    assert decoded.frame.rows() == [(0, "a", 1)]
    assert [(reject.row, reject.reason) for reject in decoded.rejects] == [(1, Reason.UNDECODABLE)]


def test_poison_under_an_older_writers_schema_is_rejected_alone():
    values = written(OLD, *({"id": "a", "value": number} for number in range(50)))
    values[30] = values[30][:-1]
    decoded = decode(values, NEW, {7: OLD})
    assert [(reject.row, reject.reason) for reject in decoded.rejects] == [(30, Reason.UNDECODABLE)]
    assert decoded.frame["value"].to_list() == [float(number) for number in range(50) if number != 30]


def test_a_default_of_bytes_is_bytes_where_records_are_read_one_by_one():
    writer, reader = codec(field("a", ["null", "int"])), codec(field("a", ["null", "boolean"]), field("b", "bytes", default="\u00ff"))
    assert decode(written(writer, {"a": None}), reader, {7: writer}).frame.rows() == [(0, None, b"\xff")]


@pytest.mark.parametrize("kind", ["int", "bytes"])  # read in bulk, and one by one
def test_a_renamed_field_and_record_are_found_by_their_aliases(kind):
    value = 5 if kind == "int" else b"x"
    writer = codec(field("id", "string"), field("temp", kind), name="ConnectDefault", namespace="io.confluent")
    reader = codec(field("id", "string"), field("temperature", kind, aliases=["temp"]), aliases=["ConnectDefault"])
    assert read(writer, reader, {"id": "a", "temp": value}).frame.rows() == [(0, "a", value)]
    stranger = codec(field("id", "string"), field("temperature", kind, aliases=["temp"]), aliases=["AnotherRecord"])
    assert [reject.reason for reject in read(writer, stranger, {"id": "a", "temp": value}).rejects] == [Reason.INCOMPATIBLE_SCHEMA]


@pytest.mark.parametrize(
    "extra",
    [
        field("extra", "string", default=None),
        field("extra", "long", default=0.0),
        field("extra", "boolean", default="false"),
        field("extra", "bytes", default=5),
        field("extra", ["null", "string"], default="x"),
        field("extra", {"type": "map", "values": "string"}, default=None),
        field("extra", {"type": "array", "items": "string"}, default=None),
        field("extra", COLOURS | {"default": "PINK"}, default=3),
        field("extra", {"type": "record", "name": "P", "fields": [field("x", "int", default="one")]}, default=[]),
        field("extra", "string", aliases=None),
        field("extra", "string", aliases="temp", doc=None, order=None),
        field("extra", {"type": "fixed", "name": "F", "size": 2, "aliases": None, "namespace": None}, default={}),
        field("extra", {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 4}),
    ],
)
def test_a_writers_defaults_and_aliases_mean_nothing_to_a_reader(extra):
    writer = codec(*OLD.fields.values(), extra, aliases=None, namespace=None)
    sample = {
        "string": "s",
        "long": 1,
        "boolean": True,
        "bytes": b"b",
        "map": {},
        "array": [],
        "enum": "RED",
        "record": {"x": 1},
        "fixed": b"xy",
    }
    kind = extra["type"]
    name = kind if isinstance(kind, str) else kind["type"] if isinstance(kind, dict) else "string"
    values = written(writer, {"id": "a", "value": 1, "extra": sample[name]})
    assert decode(values, OLD, {7: writer}).frame.rows() == [(0, "a", 1)]
    assert decode(values, NEW, {7: writer}).frame.rows() == [(0, "a", 1.0, "hall-1")]


def test_a_readers_defaults_have_to_fit():
    reader = codec(field("id", "string"), field("value", "int", default="none"))
    assert "none" in reader.unfit
    with pytest.raises(ValueError, match="Default value"):
        decode([], reader, {})


PRIMITIVES = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "string": st.text(max_size=8),
    "bytes": st.binary(max_size=8),
}
KINDS = st.sampled_from(["int", "long", "float", "double", "boolean", "string", "bytes"])
OPTIONAL = KINDS | KINDS.map(lambda kind: ["null", kind])
NAMES = st.lists(st.sampled_from("abcd"), min_size=1, unique=True)


@st.composite
def schemas(draw, *, defaults: bool) -> Codec:
    zero = {"boolean": False, "string": "", "bytes": ""}
    fields = []
    for name in draw(NAMES):
        kind = draw(OPTIONAL)
        default = None if isinstance(kind, list) else zero.get(kind, 0)
        fields.append(field(name, kind, **({"default": default} if defaults and draw(st.booleans()) else {})))
    return codec(*fields)


@given(st.data(), schemas(defaults=False), schemas(defaults=True))
def test_projection_agrees_with_fastavros_schema_resolution(data, writer, reader):
    columns = {}
    for name, each in writer.fields.items():
        kind = each["type"]
        columns[name] = st.none() | PRIMITIVES[kind[1]] if isinstance(kind, list) else PRIMITIVES[kind]
    values = written(writer, *data.draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=5)))
    decoded = decode(values, reader, {7: writer})
    rows = dict(zip(decoded.frame["row"], decoded.frame.drop("row").rows(named=True), strict=True))
    for row, value in enumerate(values):
        body = BytesIO(value)
        body.seek(5)
        try:
            expected = fastavro.schemaless_reader(body, writer.parsed, reader.parsed)
        except (fastavro.read.SchemaResolutionError, ValueError):
            assert row not in rows
        else:
            assert pl.DataFrame([expected], reader.columns).rows(named=True) == [rows[row]]
