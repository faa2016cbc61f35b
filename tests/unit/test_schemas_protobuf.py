import importlib.util
import json
from importlib.resources import files

import polars as pl
import pytest
from grpc_tools import protoc
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import deploy.schemas_commands
from schemas import json_wire, protobuf_wire
from schemas.catalog import CONTRACTS, READINGS
from schemas.codec import Codec
from schemas.protobuf_schema import message_type, proto
from schemas.rejects import Reason

FIELDS = [
    {"name": "id", "type": "string"},
    {"name": "count", "type": "int"},
    {"name": "total", "type": ["null", "long"], "default": None},
    {"name": "on", "type": "boolean", "default": True},
    {"name": "ratio", "type": "float", "default": 0.5},
    {"name": "photo", "type": "bytes", "default": "\u00ff"},
    {"name": "tally", "type": {"type": "map", "values": "long"}, "default": {}},
]


def codec(*fields):
    numbered = [{**field, "field_number": 10 + place} for place, field in enumerate(fields)]
    return Codec(json.dumps({"type": "record", "name": "Sample", "fields": numbered}))


SAMPLE = codec(*FIELDS)


def compiled(text, folder):
    """What protoc makes of a .proto file, as a device's developer has it."""
    (folder / "reading.proto").write_text(text)
    include = str(files("grpc_tools") / "_proto")
    assert protoc.main(["protoc", f"-I{folder}", f"-I{include}", f"--python_out={folder}", str(folder / "reading.proto")]) == 0
    specification = importlib.util.spec_from_file_location("reading_pb2", folder / "reading_pb2.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_message_written_by_what_protoc_makes_of_the_proto_file_is_read(tmp_path):
    reading = compiled(proto(READINGS.codec), tmp_path).SensorReading(value=0.0, timestamp=5, metadata={"shift": "early"})
    decoded = protobuf_wire.decode([reading.SerializeToString()], READINGS.codec, frozenset({"device_id", "sensor_type"}))
    assert decoded.rejects == []
    empty = {"row": 0, "device_id": None, "sensor_type": None, "location": "", "plant": ""}
    assert decoded.frame.to_dicts() == [empty | {"value": 0.0, "timestamp": 5, "metadata": {"shift": "early"}}]


def test_the_command_prints_the_proto_file():
    printed = CliRunner().invoke(deploy.schemas_commands.app, ["proto", "factory.readings"])
    assert (printed.exit_code, printed.output) == (0, proto(READINGS.codec))
    assert "field_number" in CliRunner().invoke(deploy.schemas_commands.app, ["proto", "alerts"]).output


def test_fields_left_out_take_their_default_and_those_without_one_are_missed():
    message = message_type(SAMPLE)
    decoded = protobuf_wire.decode([message(id="a", count=0).SerializeToString(), message(id="b").SerializeToString()], SAMPLE)
    assert decoded.frame.drop("row").row(0) == ("a", 0, None, True, 0.5, b"\xff", {})
    (reject,) = decoded.rejects
    assert (reject.row, reject.reason, reject.detail) == (1, Reason.NULL_FIELD, "count is missing")


def test_a_newer_devices_field_is_left_out():
    newer = codec(*FIELDS, {"name": "extra", "type": "string", "default": ""})
    frame = pl.DataFrame([{"id": "a", "count": 1, "total": 2, "on": False, "ratio": 1.5, "photo": b"", "tally": {"x": 3}}], SAMPLE.columns)
    values = protobuf_wire.encode(newer, frame.with_columns(extra=pl.lit("new")))
    assert protobuf_wire.decode(values, SAMPLE).frame.drop("row").equals(frame)


FIXED_32, FIXED_64, VARINT, LENGTH, GROUP = 5, 1, 0, 2, 3
AS_IS = {VARINT: b"\x05", FIXED_64: b"12345678", LENGTH: b"\x01x", FIXED_32: b"1234"}


@pytest.mark.parametrize("wire_type", [VARINT, FIXED_64, LENGTH, GROUP, FIXED_32])
@pytest.mark.parametrize(
    "field", [field for field in FIELDS if field["name"] not in ("id", "photo", "tally")], ids=lambda field: field["name"]
)
def test_a_field_in_another_type_s_encoding_is_told_and_not_taken_for_one_left_out(field, wire_type):
    number = 10 + FIELDS.index(field)
    key, end = (bytes([wire_type_of | (number << 3 & 0x7F) | 0x80, number >> 4]) for wire_type_of in (wire_type, GROUP + 1))
    value = message_type(SAMPLE)(id="a", count=1).SerializeToString() + key + (end if wire_type == GROUP else AS_IS[wire_type])
    decoded = protobuf_wire.decode([value], SAMPLE)
    if wire_type == (FIXED_32 if field["name"] == "ratio" else VARINT):
        assert not decoded.rejects
    else:
        ((_, reason, said),) = [(reject.row, reject.reason, reject.detail) for reject in decoded.rejects]
        assert (reason, said) == (Reason.UNDECODABLE, f"not this Protobuf message: {field['name']} is of wire type {wire_type}")


@given(
    st.fixed_dictionaries(
        {
            "id": st.text(),
            "count": st.integers(-(2**31), 2**31 - 1),
            "total": st.none() | st.integers(-(2**63), 2**63 - 1),
            "on": st.booleans(),
            "ratio": st.floats(width=32, allow_nan=False, allow_infinity=False),
            "photo": st.binary(),
            "tally": st.dictionaries(st.text(), st.integers(-(2**63), 2**63 - 1)),
        }
    )
)
def test_what_is_written_is_read_back(row):
    frame = pl.DataFrame([row], SAMPLE.columns)
    # as dictionaries: Protobuf's maps have no order
    assert protobuf_wire.decode(protobuf_wire.encode(SAMPLE, frame), SAMPLE).frame.to_dicts() == [{"row": 0, **row}]
    textual = codec(*(field for field in FIELDS if field["name"] != "photo"))
    del row["photo"]
    assert json_wire.decode(json_wire.encode(frame.drop("photo")), textual).frame.to_dicts() == [{"row": 0, **row}]


@pytest.mark.parametrize(
    ("field", "value"),
    [("count", 2**31), ("count", 1.0), ("on", 1), ("total", "5"), ("tally", {"x": "3"}), ("tally", {"x": 2**63}), ("id", 7)],
)
def test_json_of_another_type_is_refused_and_not_converted(field, value):
    (reject,) = json_wire.decode([json.dumps({"id": "a", "count": 1} | {field: value}).encode()], SAMPLE).rejects
    assert reject.reason is Reason.INCOMPATIBLE_SCHEMA
    assert reject.detail.startswith(f"{field} is {value!r}")


def test_a_record_without_field_numbers_is_not_written_as_protobuf():
    with pytest.raises(ValueError, match="alert_id has no field_number"):
        proto(CONTRACTS["alerts"].codec)
    nested = {"name": "at", "type": {"type": "array", "items": "long"}, "default": []}
    with pytest.raises(ValueError, match="array is written as Avro only"):
        message_type(codec(nested))


def test_every_field_of_a_record_devices_write_has_a_number_of_its_own():
    numbers = [field["field_number"] for field in json.loads(READINGS.codec.text)["fields"]]
    assert len(set(numbers)) == len(numbers)
