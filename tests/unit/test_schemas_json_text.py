import json
import math
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.bounds import DEPTH, MEMBERS
from schemas.json_text import dumps, loads, loads_each


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
        (b'{"t":4.0,"t":45.0}', "member 't' is there twice"),
        (b'{"a":[{"t" : ":", "u":1, "t" :2}]}', "member 't' is there twice"),
        (b'{"t":1,"\\u0074":2,"s":"\\":"}', "member 't' is there twice"),
        (b'{"a":{"t":1,"t":1}}', "member 't' is there twice"),
    ],
)
def test_what_cannot_be_read_says_what_is_wrong_and_where(text, said):
    with pytest.raises(ValueError, match=r".") as raised:
        loads(text)
    assert said in str(raised.value)


def test_as_deep_as_the_bound_is_read_and_brackets_in_texts_are_no_levels():
    assert loads(nested(DEPTH)) == json.loads(nested(DEPTH))
    assert loads(json.dumps({"a": "[" * 1_000})) == {"a": "[" * 1_000}


NAMES = st.sampled_from(["a", "b", ":", '"', "\\", '": ', " ", "{", "", "ä"])
TREES = st.recursive(
    st.none() | st.integers(0, 9) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES, inner), max_size=3).map(lambda pairs: Pairs(pairs)),
    max_leaves=8,
)


class Pairs(list):
    """Members of an object, in which a name may be twice."""


def written(tree, blank):
    if isinstance(tree, Pairs):
        return "{" + ",".join(f"{json.dumps(name)}{blank}:{blank}{written(value, blank)}" for name, value in tree) + "}"
    return "[" + ",".join(written(each, blank) for each in tree) + "]" if isinstance(tree, list) else json.dumps(tree)


def repeats(tree):
    if isinstance(tree, Pairs):
        return len(dict(tree)) < len(tree) or any(repeats(value) for _, value in tree)
    return isinstance(tree, list) and any(map(repeats, tree))


@given(TREES, st.sampled_from(["", " ", "\n\t"]))
def test_a_document_with_a_member_that_is_there_twice_is_refused_and_no_other_one_is(tree, blank):
    text = written(tree, blank)
    if repeats(tree):
        with pytest.raises(ValueError, match="is there twice"):
            loads(text)
    else:
        assert loads(text) == json.loads(text)


@given(st.lists(TREES, max_size=5))
def test_of_a_list_only_the_values_with_a_repeat_are_refused(trees):
    for tree, value in zip(trees, loads_each(written(trees, " ").encode()), strict=True):
        assert str(value).endswith("is there twice: name it once") if repeats(tree) else value == json.loads(written(tree, ""))


def test_levels_around_a_document_are_no_levels_of_it():
    assert loads(nested(DEPTH + 1), around=1)
    with pytest.raises(ValueError, match="nested more than 65 levels"):
        loads(nested(DEPTH + 2), around=1)


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


NUMBERS = st.recursive(
    st.none() | st.floats() | st.sampled_from(["null", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


@given(NUMBERS)
@example({"a": [math.nan, math.inf, -math.inf, None]})
def test_what_is_no_number_is_a_text_and_only_null_is_null(document):
    def worded(part):
        match part:
            case dict():
                return {name: worded(child) for name, child in part.items()}
            case list():
                return [worded(child) for child in part]
            case float() if not math.isfinite(part):
                return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(part)]
        return part

    assert loads(dumps(document)) == worded(document)
