import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bounds import QUOTED_LETTERS
from schemas.quoting import brief, kind, quoted

DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.5, "1.5"),
        (None, "None"),
        ("press", "'press'"),
        ([1, 2], "[1, 2]"),
        ({"x": 2**63}, "{'x': 9223372036854775808}"),
        ("x" * 600_000, "a text of 600000 characters, 'xx"),
        (b"\0" * 61, r"bytes of 61 bytes, b'\x00"),
        ([*range(5)], "a list of 5 items, [0, 1, 2, ...]"),
        (10**5_000, "an integer of 16610 bits"),
        (DEEP, "a list of 1 item, [[[...]]]"),
        ("\ud800\u202e", r"'\ud800\u202e'"),
    ],
    ids=range(11),
)
def test_a_short_value_is_quoted_as_it_is_and_of_another_its_kind_size_and_beginning(value, said):
    assert quoted(value).startswith(said)


@given(ANYTHING)
def test_whatever_is_quoted_is_short_and_can_be_written(value):
    assert 1 <= len(quoted(value)) <= QUOTED_LETTERS
    assert quoted(value).encode()
    assert quoted(value).isprintable()
    assert kind(value)


@given(st.text(st.characters(exclude_categories=())), st.integers(0, 50))
def test_a_text_of_any_origin_is_cut_and_has_bytes_in_utf_8(text, most):
    assert len(brief(text, most)) <= most
    brief(text, most).encode()
