import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from deploy.output.listing import listing, plain, said, show_json

HEADS = ("alert", "device", "by", "message")
LONG = "temperature of plant-1.press-0000 is 166.4 °C, critical above 150 °C"
ROWS = [("7a4b84db", "plant-1.press-0000", "", LONG), ("7a4b84dc", "lamp-7", "", "dark")]


def test_a_table_that_fits_is_one_line_a_row_without_empty_columns():
    head, first, second = listing(HEADS, ROWS, None)
    assert head.split() == ["alert", "device", "message"]
    assert first.index(LONG) == second.index("dark") == head.index("message")


def test_a_table_too_wide_has_its_last_cells_below_and_nothing_is_cut():
    lines = listing(HEADS, ROWS, 60)
    assert len(lines) == 6
    assert lines[2].split() == ["7a4b84db", "plant-1.press-0000"]
    assert lines[3].strip() == LONG


def test_nothing_to_list_is_the_heads():
    assert listing(HEADS, [], 20)[0].startswith("alert")


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), min_size=1, max_size=4), st.none() | st.integers(1, 40))
def test_no_text_of_others_moves_the_cursor_and_each_is_there_whole(rows, width):
    lines = listing(("a", "b"), rows, width)
    assert all(letter.isprintable() or letter.isspace() for line in lines for letter in line)
    assert not any(control in line for line in lines for control in "\n\r\x1b\x9b\u202e\u2028\x07")
    told = "\n".join(lines)
    assert all(plain(cell).strip() in told for row in rows for cell in row)


def test_wide_letters_take_two_cells():
    _, *lines = listing(("a", "b"), [("灯", "x"), ("ab", "y")], None)
    assert {cell_len(line.rpartition(" ")[0]) for line in lines} == {3}


def test_json_is_read_back_whatever_is_in_it(capsys):
    found = [{"detail": "\x1b]0;owned\x07\u202e[/all] Ω 灯 \U000e0001"}]
    show_json(found)
    text = capsys.readouterr().out
    assert json.loads(text) == found
    assert "\x1b" not in text
    assert "灯" in text


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ({"volume_l": "240", "firmware": "1.4"}, "volume_l=240, firmware=1.4"),
        ({}, ""),
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (["lamp-7", "lamp-8"], "lamp-7, lamp-8"),
        ({"lamps": ["a", "b"], "on": True}, "lamps=a, b, on=yes"),
        (0, "0"),
        ("{}", "{}"),
    ],
)
def test_a_fact_is_said_as_people_write_it(fact, words):
    assert said(fact) == words
