import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bounds import DEPTH, MEMBERS
from schemas.json_text import dumps, loads


def nested(levels):
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": nan}', "invalid literal, expected 'null': line 1 column 7"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark (BOM) is not supported: line 1 column 1"),
        (b'{"a":1}\0', "unexpected content after document: line 1 column 8"),
        (b'{"a":"\xe4"}', "not UTF-8: invalid continuation byte at byte 7"),
        (b'{"a":"\\ud800"}', "no low surrogate in string: line 1 column 7"),
        (nested(DEPTH + 1), "nested more than 64 levels deep"),
        (b'{"a":1,"timestamp":' + nested(1_010) + b"}", "nested more than 64 levels deep, at member 'timestamp'"),
        (nested(100_000), "depth limit"),
        (json.dumps([0] * (MEMBERS + 1)).encode(), "10001 members, at most 10000"),
    ],
)
def test_what_cannot_be_read_says_what_is_wrong_and_where(text, said):
    with pytest.raises(ValueError, match=r".") as raised:
        loads(text)
    assert said in str(raised.value)


def test_as_deep_as_the_bound_is_read_and_brackets_in_texts_are_no_levels():
    assert loads(nested(DEPTH)) == json.loads(nested(DEPTH))
    assert loads(json.dumps({"a": "[" * 1_000})) == {"a": "[" * 1_000}


@given(st.binary() | st.integers(1, 5_000).map(nested) | st.text())
def test_any_text_is_a_value_or_a_value_error(text):
    with suppress(ValueError):
        loads(text)


@pytest.mark.parametrize(
    ("document", "said"),
    [({1: 2}, "JSON cannot say it"), ({"a": 2**70}, "JSON cannot say it"), (json.loads(nested(65)), "deep")],
)
def test_what_json_has_no_word_for_is_said(document, said):
    with pytest.raises(ValueError, match=said):
        dumps(document)


def test_bytes_are_written_in_hexadecimal():
    assert dumps({"a": b"\x00\xff"}) == b'{"a":"00ff"}'
