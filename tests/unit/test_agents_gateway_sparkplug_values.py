import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.sparkplug.values import NESTING, Definition, Untold, properties, value
from agents.gateway.sparkplug.wire import PAYLOAD, DataType


def metric(**fields):
    payload = PAYLOAD()
    return payload.metrics.add(**fields)


SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
UNSIGNED = {DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64}


@given(st.sampled_from([*SIGNED]), st.data())
def test_a_signed_integer_comes_back_signed_whatever_field_it_is_in_and_however_far_its_sign_is_extended(kind, data):
    bits = SIGNED[kind]
    meant = data.draw(st.integers(-(1 << bits - 1), (1 << bits - 1) - 1))
    for field, width in (("int_value", 32), ("long_value", 64)):
        for extended in {bits, width}:
            if bits <= extended <= width:
                assert value(metric(datatype=kind, **{field: meant & (1 << extended) - 1})) == meant


@given(st.sampled_from([*UNSIGNED]), st.data())
def test_an_unsigned_integer_is_what_it_is(kind, data):
    meant = data.draw(st.integers(0, (1 << UNSIGNED[kind]) - 1))
    assert value(metric(datatype=kind, long_value=meant)) == meant


@pytest.mark.parametrize(
    ("kind", "sent"), [(DataType.INT8, 300), (DataType.UINT8, 256), (DataType.UINT16, 1 << 16), (DataType.INT16, 0x17FFF)]
)
def test_a_number_that_does_not_fit_its_data_type_is_told(kind, sent):
    with pytest.raises(ValueError, match="is not within"):
        value(metric(datatype=kind, int_value=sent))


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"datatype": DataType.FLOAT, "float_value": 21.5}, 21.5),
        ({"datatype": DataType.DOUBLE, "double_value": -1e300}, -1e300),
        ({"datatype": DataType.FLOAT, "float_value": float("nan")}, "NaN"),
        ({"datatype": DataType.DOUBLE, "double_value": float("-inf")}, "-Infinity"),
        ({"datatype": DataType.BOOLEAN, "boolean_value": True}, True),
        ({"datatype": DataType.STRING, "string_value": "Süd".encode()}, "Süd"),
        ({"datatype": DataType.TEXT, "string_value": b""}, ""),
        ({"datatype": DataType.UUID, "string_value": b"6f2c"}, "6f2c"),
        ({"datatype": DataType.DATE_TIME, "long_value": 1_790_000_000_000}, 1_790_000_000_000),
        ({"datatype": DataType.BYTES, "bytes_value": b"\x00\xff"}, "00ff"),
        ({"datatype": DataType.FILE, "bytes_value": b"ab"}, "6162"),
        ({"is_null": True, "int_value": 1, "datatype": DataType.INT32}, None),
        ({"datatype": DataType.INT32}, None),
    ],
)
def test_basic_values(fields, meant):
    assert value(metric(**fields)) == meant


@pytest.mark.parametrize(
    ("kind", "packed", "meant"),
    [
        # the specification's own examples, section 6.4.17.4; those of floats are big-endian there, against its text
        (DataType.INT8_ARRAY, "EF7B", [-17, 123]),
        (DataType.INT16_ARRAY, "D08A3075", [-30000, 30000]),
        (DataType.INT32_ARRAY, "FFFFFFFFFAAFCB12", [-1, 315338746]),
        (DataType.INT64_ARRAY, "CE0672AC189CBAC4C4BA9C18AC7206CE", [-4270929666821191986, -3601064768563266876]),
        (DataType.UINT8_ARRAY, "17FA", [23, 250]),
        (DataType.UINT16_ARRAY, "1E0088CC", [30, 52360]),
        (DataType.UINT32_ARRAY, "3400000049FB55C4", [52, 3293969225]),
        (DataType.UINT64_ARRAY, "3400000000000000D99E02D1B27637E4", [52, 16444743074749521625]),
        (DataType.BOOLEAN_ARRAY, "0C00000034DF", [False, False, True, True, False, True, False, False, True, True, False, True]),
        (DataType.STRING_ARRAY, "41424300 68656c6c6f00", ["ABC", "hello"]),
        (DataType.FLOAT_ARRAY, struct.pack("<2f", 1.5, float("inf")).hex(), [1.5, "Infinity"]),
        (DataType.DOUBLE_ARRAY, struct.pack("<d", 12.354213).hex(), [12.354213]),
        (DataType.DATE_TIME_ARRAY, struct.pack("<2Q", 1, 1 << 40).hex(), [1, 1 << 40]),
        (DataType.STRING_ARRAY, "", []),
    ],
)
def test_arrays(kind, packed, meant):
    assert value(metric(datatype=kind, bytes_value=bytes.fromhex(packed))) == meant


@pytest.mark.parametrize(
    ("kind", "packed"),
    [(DataType.INT32_ARRAY, "FF"), (DataType.BOOLEAN_ARRAY, "FFFFFFFF00"), (DataType.STRING_ARRAY, "41"), (DataType.STRING_ARRAY, "FF00")],
)
def test_what_is_no_array_is_told(kind, packed):
    with pytest.raises(ValueError, match=r"array|UTF-8"):
        value(metric(datatype=kind, bytes_value=bytes.fromhex(packed)))


def test_a_data_set_has_its_columns_and_each_cell_by_its_columns_type():
    row = {"elements": [{"int_value": 0xFFFFFFF4}, {"string_value": b"on"}, {}]}
    found = metric(datatype=16, dataset_value={"columns": [b"t", b"s", b"n"], "types": [3, 12, 10], "rows": [row]})
    assert value(found) == {"columns": ["t", "s", "n"], "rows": [[-12, "on", None]]}
    with pytest.raises(ValueError, match="data set of 2 columns"):
        value(metric(datatype=16, dataset_value={"columns": [b"t", b"s"], "types": [3], "rows": []}))


def test_a_template_is_read_by_the_data_types_that_its_birth_told():
    born = Definition("pump", DataType.TEMPLATE, {"speed": Definition("speed", DataType.INT32)})
    said = {
        "template_ref": b"Pump",
        "metrics": [{"name": b"speed", "int_value": 0xFFFFFFFF}],
        "parameters": [{"name": b"no", "type": 7, "int_value": 3}],
    }
    told = {"template": "Pump", "metrics": {"speed": -1}, "parameters": {"no": 3}}
    assert value(metric(template_value=said), born) == told
    with pytest.raises(Untold):
        value(metric(template_value=said))


def test_properties_are_plain_data_of_every_kind():
    inner = {"keys": [b"unit"], "values": [{"type": 12, "string_value": b"C"}]}
    found = metric(
        properties={
            "keys": [b"low", b"set", b"sets", b"none"],
            "values": [
                {"type": 3, "int_value": 0xFFFFFFFE},
                {"type": 20, "propertyset_value": inner},
                {"type": 21, "propertysets_value": {"propertyset": [inner, inner]}},
                {"type": 3, "is_null": True},
            ],
        }
    ).properties
    assert properties(found) == {"low": -2, "set": {"unit": "C"}, "sets": [{"unit": "C"}, {"unit": "C"}], "none": None}


SPEED = {"name": b"speed", "datatype": 3, "int_value": 1}
PARAMETER = {"name": b"speed", "type": 3, "int_value": 1}


@pytest.mark.parametrize(
    ("read", "why"),
    [
        (lambda: value(metric(template_value={"metrics": [SPEED, SPEED]})), "two members of a template are called 'speed'"),
        (lambda: value(metric(template_value={"parameters": [PARAMETER, PARAMETER]})), "two parameters of a template are called 'speed'"),
        (
            lambda: properties(metric(properties={"keys": [b"u", b"u"], "values": [{"type": 3, "int_value": 1}] * 2}).properties),
            "two properties of a set are called 'u'",
        ),
    ],
)
def test_what_is_there_twice_under_one_name_is_told_and_not_lost(read, why):
    with pytest.raises(ValueError, match=why):
        read()


@pytest.mark.parametrize("field", ["int_value", "long_value"])
def test_a_number_without_its_data_type_is_read_only_where_every_type_has_the_same(field):
    assert value(metric(**{field: 127})) == 127
    with pytest.raises(Untold):
        value(metric(**{field: 128}))
    assert value(metric(**{field: 0xFFFFFFF4}), Definition("t", DataType.INT32)) == -12
    assert value(metric(double_value=21.5)) == 21.5


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"datatype": 99, "int_value": 1}, "data type 99 is none"),
        ({"datatype": DataType.INT32, "string_value": b"1"}, "INT32 in its string_value"),
        ({"datatype": DataType.INT64, "int_value": 0xFFFFFFF4}, "INT64 of 4294967284 in its int_value, whose sign cannot be told"),
        ({"datatype": DataType.STRING, "string_value": b"\xff"}, "the value is no UTF-8"),
        ({"datatype": DataType.PROPERTY_SET, "int_value": 1}, "PROPERTY_SET in its int_value"),
    ],
)
def test_what_cannot_be_read_is_told_never_guessed(fields, why):
    with pytest.raises(ValueError, match=why):
        value(metric(**fields))


def test_nesting_has_an_end_within_what_json_can_have():
    nested = metric(name=b"m", int_value=1)
    for _ in range(NESTING):
        nested = metric(name=b"m", template_value={"metrics": [nested]})
    orjson.dumps(value(nested))
    with pytest.raises(ValueError, match="depth"):
        value(metric(name=b"m", template_value={"metrics": [nested]}))
