import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalog import LIGHTS
from schemas.codec import Codec
from schemas.parts import length, part
from schemas.reference import write_body

PAIR = Codec(
    '{"type": "record", "name": "Pair", "fields": [{"name": "a", "type": "string"}, '
    '{"name": "b", "type": "long"}, {"name": "c", "type": ["null", "double"]}]}'
)


@given(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.none() | st.floats(allow_nan=False))
def test_parts_one_behind_the_other_are_the_record(a, b, c):
    assert part(PAIR, a=a) + part(PAIR, b=b, c=c) == write_body(PAIR, {"a": a, "b": b, "c": c})


@given(st.integers(0, 2**31))
def test_the_length_of_a_string_is_written_as_fastavro_writes_a_long(count):
    written = io.BytesIO()
    fastavro.schemaless_writer(written, "long", count)
    assert length(count) == written.getvalue()


@pytest.mark.parametrize("values", [{"b": 1, "a": ""}, {"a": "", "c": None}, {"a": "", "x": 1}, {"a": 1}, {"b": "x"}, {"b": 2**64}])
def test_what_is_not_a_part_of_the_schema_is_refused(values):
    with pytest.raises(ValueError, match=r"."):
        part(PAIR, **values)


def test_the_envelope_is_a_schema_to_write_in_parts():
    assert part(LIGHTS.codec, ingestion_time=1, processing_time=2) == b"\x02\x04"
