import math
from struct import pack

import polars as pl
import pytest

from schemas.catalog import ALERTS, CONTRACTS, DEAD_LETTERS, READINGS
from schemas.rejects import Reason
from schemas.wire import Codec, Decoded, decode, encode

READER = READINGS.codec
WRITERS = {7: READER}
READING = {
    "device_id": "plant-1.press-0001",
    "sensor_type": "temperature",
    "value": 21.5,
    "timestamp": 1_760_000_000_000,
    "location": "plant-1/hall-1",
    "plant": "plant-1",
    "metadata": {"production_line": "line-3", "shift": "night"},
}


def readings(*changes: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([READING | change for change in changes], READER.columns)


GOOD = encode(READER, 7, readings({}))[0]
UNKNOWN = b"\x00\x00\x00\x00\x63" + GOOD[5:]


def reasons(decoded: Decoded) -> dict[int, Reason]:
    return {reject.row: reject.reason for reject in decoded.rejects}


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
def test_every_contract_is_read_and_written_in_bulk(contract):
    assert contract.codec.defect is None
    assert contract.codec.framed is not None


def test_a_record_is_framed_by_a_zero_byte_and_its_schema_id():
    assert GOOD[:5] == b"\x00\x00\x00\x00\x07"


def test_good_records_become_rows_in_their_order():
    values = encode(READER, 7, readings({"value": 1.0}, {"value": 2.0}, {"value": 3.0}))
    frame = decode(values, READER, WRITERS).frame
    assert frame.select("row", "value").rows() == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert frame.schema == {"row": pl.UInt32, **READER.columns}


def test_timestamps_are_plain_milliseconds():
    assert decode([GOOD], READER, WRITERS).frame["timestamp"].to_list() == [1_760_000_000_000]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_datetimes_of_any_unit_are_written_as_milliseconds(unit):
    frame = readings({}).with_columns(pl.from_epoch("timestamp", "ms").dt.cast_time_unit(unit))
    assert encode(READER, 7, frame) == [GOOD]


def test_no_records_are_an_empty_frame_with_the_readers_columns():
    decoded = decode([], READER, WRITERS)
    assert decoded.frame.schema == {"row": pl.UInt32, **READER.columns}
    assert (decoded.frame.height, decoded.rejects, decoded.unknown) == (0, [], frozenset())


def test_an_empty_frame_is_no_records():
    assert encode(READER, 7, readings().clear()) == []


def test_a_null_where_none_may_be_is_not_written():
    with pytest.raises(ValueError, match="device_id"):
        encode(READER, 7, readings({"device_id": None}))


def test_a_null_inside_a_map_of_strings_is_not_written():
    with pytest.raises(ValueError, match="metadata"):
        encode(READER, 7, readings({"metadata": {"shift": None}}))


@pytest.mark.parametrize("rows", [slice(0, 2), slice(3, 4), slice(5, 9), slice(0, 9), slice(4, 4)])
def test_maps_of_a_slice_of_a_frame_in_pieces_are_written_as_they_are(rows):
    maps = [{f"key-{row}-{number}": "x" * row for number in range(row % 4)} for row in range(9)]
    frames = [readings(*({"metadata": each} for each in maps[start:end])) for start, end in ((0, 4), (4, 5), (5, 9))]
    frame = pl.concat(frames, rechunk=False)[rows]
    assert decode(encode(READER, 7, frame), READER, WRITERS).frame["metadata"].to_list() == maps[rows]


def test_maps_as_lists_of_pairs_are_written_as_maps():
    pairs = [{"key": "shift", "value": "night"}, {"key": "", "value": ""}]
    frame = readings({}, {}).with_columns(metadata=pl.Series([pairs, []], dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.String}))))
    assert decode(encode(READER, 7, frame), READER, WRITERS).frame["metadata"].to_list() == [{"shift": "night", "": ""}, {}]


def test_not_a_number_and_infinities_are_rows():
    values = encode(READER, 7, readings({"value": math.nan}, {"value": math.inf}, {"value": -math.inf}))
    decoded = decode(values, READER, WRITERS)
    assert [str(value) for value in decoded.frame["value"]] == ["nan", "inf", "-inf"]
    assert decoded.rejects == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, Reason.TOMBSTONE, id="tombstone"),
        pytest.param(b"", Reason.BAD_MAGIC, id="empty"),
        pytest.param(b"\x00\x00\x00\x00", Reason.BAD_MAGIC, id="shorter than the frame"),
        pytest.param(b"{" + GOOD[1:], Reason.BAD_MAGIC, id="wrong magic byte"),
        pytest.param(b"\x00\x00\x00\x00\x00" + GOOD[5:], Reason.UNKNOWN_SCHEMA, id="id zero"),
        pytest.param(b"\x00\xff\xff\xff\xff" + GOOD[5:], Reason.UNKNOWN_SCHEMA, id="negative id"),
        pytest.param(GOOD[:5], Reason.UNDECODABLE, id="no body"),
        pytest.param(GOOD[:-1], Reason.UNDECODABLE, id="truncated by a byte"),
        pytest.param(GOOD[:20], Reason.UNDECODABLE, id="truncated in a string"),
        pytest.param(GOOD + b"\x00", Reason.UNDECODABLE, id="a byte left over"),
        pytest.param(GOOD[:6] + b"\xff" + GOOD[7:], Reason.UNDECODABLE, id="not UTF-8"),
        pytest.param(GOOD[:5] + b"\x01" + GOOD[6:], Reason.UNDECODABLE, id="negative length"),
        pytest.param(GOOD[:5] + b"\xfe" + b"\xff" * 8 + b"\x01" + GOOD[6:], Reason.UNDECODABLE, id="length of 2**63 - 1"),
        pytest.param(GOOD[:5] + b"\x80" * 11 + b"\x00" + GOOD[6:], Reason.UNDECODABLE, id="endless integer"),
    ],
)
@pytest.mark.parametrize("neighbours", [0, 1, 40])
def test_poison_is_rejected_for_its_reason_and_its_neighbours_are_rows(value, reason, neighbours):
    decoded = decode([GOOD] * neighbours + [value] + [GOOD] * neighbours, READER, WRITERS)
    assert reasons(decoded) == {neighbours: reason}
    assert decoded.frame["row"].to_list() == [row for row in range(2 * neighbours + 1) if row != neighbours]


def test_a_reject_says_what_was_found():
    decoded = decode([GOOD + b"abc", GOOD[:-1], b"{}"], READER, WRITERS)
    assert [reject.detail for reject in decoded.rejects] == [
        "3 bytes left over",
        "ends before its last field does",
        "2 bytes, starting 7b7d: JSON, not Avro",
    ]


def test_an_integer_beyond_32_bits_in_an_int_is_a_reject():
    codec = Codec('{"type": "record", "name": "R", "fields": [{"name": "i", "type": "int"}]}')
    frame = b"\x00\x00\x00\x00\x07"
    decoded = decode([frame + b"\xfe\xff\xff\xff\x0f", frame + b"\x80\x80\x80\x80\x10"], codec, {7: codec})
    assert decoded.frame["i"].to_list() == [2**31 - 1]
    assert reasons(decoded) == {1: Reason.UNDECODABLE}


def test_a_map_cut_in_blocks_with_their_sizes_is_a_row():
    body = GOOD[: GOOD.index(b"\x04\x1eproduction_line")]
    blocks = body + b"\x01\x2c\x1eproduction_line\x0cline-3" + b"\x02\x0ashift\x0anight" + b"\x00" + b"\x0eplant-1"
    decoded = decode([GOOD, blocks], READER, WRITERS)
    assert decoded.rejects == []
    assert decoded.frame["metadata"].to_list() == [READING["metadata"]] * 2


def test_records_of_an_unknown_schema_are_neither_rows_nor_rejects_until_its_id_is_asked_for():
    decoded = decode([GOOD, UNKNOWN, GOOD], READER, WRITERS)
    assert (decoded.frame["row"].to_list(), decoded.rejects, decoded.unknown) == ([0, 2], [], {99})


def test_an_id_the_registry_does_not_have_is_a_reject():
    decoded = decode([GOOD, UNKNOWN], READER, WRITERS, missing={99})
    assert reasons(decoded) == {1: Reason.UNKNOWN_SCHEMA}
    assert decoded.unknown == set()


def test_records_of_several_schema_ids_stay_in_their_order():
    frames = encode(READER, 7, readings({"value": 0.0}, {"value": 2.0})), encode(READER, 8, readings({"value": 1.0}, {"value": 3.0}))
    values = [frames[row % 2][row // 2] for row in range(4)]
    assert decode(values, READER, {7: READER, 8: READER}).frame.select("row", "value").rows() == [(row, float(row)) for row in range(4)]


def test_a_record_of_another_topics_schema_is_incompatible():
    alert = pl.DataFrame(
        [
            dict.fromkeys(ALERTS.codec.columns, "x")
            | dict.fromkeys(("value", "threshold"), 1.0)
            | dict.fromkeys(("raised_at", "changed_at"), 5)
            | {"historic": False, "expected_at": None, "confidence": None}
        ]
    )
    decoded = decode(encode(ALERTS.codec, 9, alert), READER, {9: ALERTS.codec})
    assert reasons(decoded) == {0: Reason.INCOMPATIBLE_SCHEMA}
    assert decoded.rejects[0].detail == "the writer's record is Alert, the reader's SensorReading"


def test_a_record_of_two_megabytes_is_a_row():
    value = encode(READER, 7, readings({"location": "x" * 2_000_000}))
    assert decode([GOOD, *value], READER, WRITERS).frame["location"].str.len_bytes().to_list() == [14, 2_000_000]


def test_bytes_of_any_kind_survive():
    raw = bytes(range(256))
    letter = {
        "reason": "undecodable",
        "detail": "",
        "topic": "t",
        "partition": -1,
        "offset": 2**40,
        "timestamp": 0,
        "key": None,
        "value": raw,
    }
    codec = DEAD_LETTERS.codec
    assert decode(encode(codec, 3, pl.DataFrame([letter])), codec, {3: codec}).frame.drop("row").rows(named=True) == [letter]


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "record", "name": "R", "fields": [{"name": "next", "type": ["null", "R"]}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "nothing", "type": {"type": "array", "items": "null"}}]}',
        '"string"',
        'syntax = "proto3";',
    ],
    ids=["contains itself", "items of no bytes", "no record", "no Avro"],
)
def test_schemas_by_which_garbage_could_take_all_memory_are_not_read(text):
    claims = b"\x00\x00\x00\x00\x07" + b"\xfe" + b"\xff" * 8 + b"\x01" + b"\x02" * 100_000
    decoded = decode([claims, claims], READER, {7: Codec(text)})
    assert reasons(decoded) == dict.fromkeys((0, 1), Reason.INCOMPATIBLE_SCHEMA)


def test_a_schema_id_that_looks_like_no_float_is_read_back():
    signalling_nan = int.from_bytes(pack("<I", 0x7F800001))
    (value,) = encode(READER, signalling_nan, readings({}))
    assert value[1:5] == signalling_nan.to_bytes(4)
    assert decode([value], READER, {signalling_nan: READER}).frame.height == 1


def test_a_reader_whose_schema_makes_no_columns_is_a_mistake():
    union = Codec('{"type": "record", "name": "R", "fields": [{"name": "any", "type": ["string", "long"]}]}')
    with pytest.raises(ValueError, match="R makes no columns"):
        decode([], union, {})
    with pytest.raises(ValueError, match="R is not written in bulk"):
        encode(union, 7, pl.DataFrame({"any": ["x"]}))


def test_an_enums_unknown_symbol_is_not_written():
    codec = Codec('{"type": "record", "name": "R", "fields": [{"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A"]}}]}')
    with pytest.raises(ValueError, match="B"):
        encode(codec, 7, pl.DataFrame({"e": ["B"]}))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"\x00" + (7).to_bytes(8) + GOOD[5:], "schema id 0, or 7 in eight bytes: let the producer write ids of four bytes"),
        (b"\x00" + (2**40 + 7).to_bytes(8) + GOOD[5:], "schema id 256"),
        (GOOD[5:], "into a header"),
        (b'{"a": 1}', "JSON, not Avro"),
    ],
)
def test_a_frame_that_is_none_tells_what_its_producer_may_have_done(value, told):
    (reject,) = decode([value], READER, {}, {256}).rejects
    assert told in reject.detail
