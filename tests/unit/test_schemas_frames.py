import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalog import ALERTS
from schemas.frames import reframed, schema_ids
from schemas.wire import encode

ids = st.integers(1, 2**31 - 1)
bodies = st.binary(max_size=20)


@given(st.lists(st.tuples(ids, bodies)), st.data())
def test_the_frame_changes_and_the_body_does_not(records, data):
    values = [b"\x00" + schema_id.to_bytes(4) + body for schema_id, body in records]
    named = schema_ids(values)
    assert named == {schema_id for schema_id, _ in records}
    ours = {theirs: data.draw(ids) for theirs in named}
    assert reframed(values, ours) == [b"\x00" + ours[schema_id].to_bytes(4) + body for schema_id, body in records]


def test_a_reframed_record_is_what_the_other_registry_s_producer_would_have_written():
    row = {name: {pl.String: "x", pl.Float64: 0.5, pl.Boolean: False}.get(dtype, 1) for name, dtype in ALERTS.codec.columns.items()}
    frame = pl.DataFrame([row], ALERTS.codec.columns)
    assert reframed(encode(ALERTS.codec, 3, frame), {3: 2**31 - 1}) == encode(ALERTS.codec, 2**31 - 1, frame)


def test_an_id_that_has_no_other_is_an_error():
    with pytest.raises(KeyError):
        reframed([b"\x00\x00\x00\x00\x07"], {8: 1})
