"""What holds for any batch whatever: of good records, of damaged ones, of plain garbage, however it is cut."""

from io import BytesIO
from itertools import chain, pairwise

import fastavro
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from schemas.catalog import CONTRACTS, READINGS
from schemas.nodes import children, kind, nullable
from schemas.rejects import Reason
from schemas.wire import Codec, decode, encode

FRAME = b"\x00\x00\x00\x00\x07"
SHAPES = Codec(
    """{"type": "record", "name": "Shapes", "fields": [
        {"name": "flag", "type": "boolean"}, {"name": "small", "type": "int"}, {"name": "single", "type": ["null", "float"]},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}},
        {"name": "counts", "type": {"type": "map", "values": ["null", "long"]}},
        {"name": "path", "type": {"type": "array", "items": {"type": "record", "name": "Point", "fields": [
            {"name": "lat", "type": "double"}, {"name": "label", "type": ["string", "null"]}]}}},
        {"name": "home", "type": ["null", "Point"]}, {"name": "raw", "type": "bytes"}]}"""
)
CODECS = [*(contract.codec for contract in CONTRACTS.values()), SHAPES]
LEAVES = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "string": st.text(max_size=20),
    "bytes": st.binary(max_size=20),
}


def data(node) -> st.SearchStrategy:
    optional, node = nullable(node)
    match kind(node):
        case "record":
            strategy = st.fixed_dictionaries({field["name"]: data(field["type"]) for field in node["fields"]})
        case "array":
            strategy = st.lists(data(*children(node)), max_size=3)
        case "map":
            strategy = st.dictionaries(st.text(max_size=5), data(*children(node)), max_size=3)
        case "enum":
            strategy = st.sampled_from(node["symbols"])
        case leaf:
            strategy = LEAVES[leaf]
    return st.none() | strategy if optional else strategy


def frames(codec: Codec) -> st.SearchStrategy[pl.DataFrame]:
    record = st.fixed_dictionaries({name: data(field["type"]) for name, field in codec.fields.items()})
    return st.lists(record, max_size=40).map(lambda rows: pl.DataFrame(rows, codec.columns))


@st.composite
def damaged(draw, values: st.SearchStrategy[bytes]) -> bytes:
    value = draw(values)
    match draw(st.sampled_from(["cut", "flip", "grow", "insert", "random"])):
        case "cut":
            return value[: draw(st.integers(0, len(value)))]
        case "flip" if value:
            at = draw(st.integers(0, len(value) - 1))
            return value[:at] + bytes([value[at] ^ 1 << draw(st.integers(0, 7))]) + value[at + 1 :]
        case "grow":
            return value + draw(st.binary(min_size=1, max_size=4))
        case "insert":
            at = draw(st.integers(0, len(value)))
            return value[:at] + draw(st.sampled_from([b"\xff", b"\x80" * 4, b"\xff" * 10])) + value[at:]
        case _:
            return FRAME + draw(st.binary(max_size=60))


@st.composite
def batches(draw) -> tuple[Codec, list[bytes | None]]:
    """A codec, and good, damaged and repeatedly damaged records of it among tombstones and plain garbage."""
    codec = draw(st.sampled_from(CODECS))
    good = encode(codec, 7, draw(frames(codec)))
    if not good:
        return codec, draw(st.lists(st.none() | st.binary(max_size=60), max_size=40))
    sound = st.sampled_from(good)
    return codec, draw(st.lists(sound | sound | damaged(sound) | damaged(damaged(sound)) | st.binary(max_size=30) | st.none(), max_size=60))


@given(st.sampled_from(CODECS).flatmap(lambda codec: st.tuples(st.just(codec), frames(codec))), st.integers(1, 2**31 - 1))
def test_what_is_encoded_decodes_to_itself(codec_and_frame, schema_id):
    codec, frame = codec_and_frame
    decoded = decode(encode(codec, schema_id, frame), codec, {schema_id: codec})
    assert_frame_equal(frame, decoded.frame.drop("row"), check_exact=True)
    assert decoded.rejects == []


@given(st.sampled_from(CODECS).flatmap(lambda codec: st.tuples(st.just(codec), frames(codec))), st.lists(st.integers(0, 40), max_size=6))
def test_what_is_written_does_not_depend_on_how_the_frame_is_cut(codec_and_frame, cuts):
    codec, frame = codec_and_frame
    edges = sorted({0, frame.height, *(cut for cut in cuts if cut < frame.height)})
    parts = [encode(codec, 7, frame[start:stop]) for start, stop in pairwise(edges)]
    assert encode(codec, 7, frame) == list(chain(*parts))


@given(batches())
def test_every_record_is_a_row_or_a_reject_or_of_an_unknown_schema(batch):
    codec, values = batch
    decoded = decode(values, codec, {7: codec})
    rows = decoded.frame["row"].to_list()
    rejected = [reject.row for reject in decoded.rejects]
    waiting = [
        row for row, value in enumerate(values) if value is not None and int.from_bytes(value[1:5]) in decoded.unknown and value[0] == 0
    ]
    assert rows == sorted(set(rows))
    assert rejected == sorted(set(rejected))
    assert sorted(rows + rejected + waiting) == list(range(len(values)))


@given(batches(), st.lists(st.integers(0, 60), max_size=6))
def test_decoding_does_not_depend_on_how_the_log_is_cut_into_batches(batch, cuts):
    codec, values = batch
    whole = decode(values, codec, {7: codec})
    edges = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    parts = [(start, decode(values[start:stop], codec, {7: codec})) for start, stop in pairwise(edges)]
    pieces = [part.frame.with_columns(pl.col("row") + start) for start, part in parts]
    if pieces:
        assert_frame_equal(whole.frame, pl.concat(pieces), check_exact=True)
    rejects = [(start + reject.row, reject.reason, reject.detail) for start, part in parts for reject in part.rejects]
    assert [(reject.row, reject.reason, reject.detail) for reject in whole.rejects] == rejects
    assert whole.unknown == frozenset().union(*(part.unknown for _, part in parts))


@given(batches())
def test_the_bulk_decoder_agrees_with_fastavro(batch):
    """A record fastavro reads to the last byte and writes the same again is a row of the same values; what it cannot read is a reject.

    Between the two lie records that may be written otherwise (an array in blocks): a row of the same values, or a reject.
    """
    codec, values = batch
    decoded = decode(values, codec, {7: codec})
    rows = dict(zip(decoded.frame["row"], decoded.frame.drop("row").rows(named=True), strict=True))
    rejects = {reject.row: reject.reason for reject in decoded.rejects}
    for row, value in enumerate(values):
        if value is None or value[:5] != FRAME:
            continue
        datum, canonical = reference(codec, value[5:])
        if datum is None:
            assert rejects[row] == Reason.UNDECODABLE
        elif canonical:
            assert repr(rows[row]) == repr(datum)
        else:
            assert row in rejects or repr(rows[row]) == repr(datum)


def reference(codec: Codec, body: bytes) -> tuple[object, bool]:
    """fastavro's reading of a body, or None; and whether it is written in just this way."""
    source, again = BytesIO(body), BytesIO()
    try:
        datum = fastavro.schemaless_reader(source, codec.parsed, None)
    except (EOFError, LookupError, ValueError, ArithmeticError):
        return None, False
    if source.tell() < len(body) or not fastavro.validate(datum, codec.parsed, raise_errors=False):
        return None, False
    fastavro.schemaless_writer(again, codec.parsed, datum)
    return datum, again.getvalue() == body


@given(
    st.lists(st.none() | st.binary(max_size=200)),
    st.lists(st.sampled_from(["record", "string", "{", "[]", '{"type": "record"}', READINGS.codec.text])),
)
def test_nothing_raises_on_arbitrary_bytes_or_writers(values, texts):
    writers = {number: Codec(text) for number, text in enumerate(texts, start=1)}
    framed = [value and b"\x00\x00\x00\x00" + bytes([row % 8]) + value for row, value in enumerate(values)]
    decoded = decode(framed, READINGS.codec, writers)
    assert decoded.frame.height + len(decoded.rejects) <= len(values)
