from types import SimpleNamespace

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.batches import Batch
from streams.pieces import Piece, halves, height, located, together, token


def piece(partition, rows, first=100, timestamp=1_000):
    count = max(rows, default=-1) + 1
    batch = Batch("t", partition, [b"k"] * count, [b"v"] * count, [timestamp + n for n in range(count)], [first + n for n in range(count)])
    return Piece(
        SimpleNamespace(value=batch), pl.DataFrame({"row": pl.Series(rows, dtype=pl.UInt32), "x": [f"{partition}-{r}" for r in rows]})
    )


PIECES = st.lists(st.builds(piece, st.integers(0, 3), st.sets(st.integers(0, 30), min_size=1).map(sorted)), min_size=1, max_size=6).filter(
    lambda pieces: height(pieces) > 1
)


@settings(deadline=None)
@given(PIECES)
def test_halves_are_all_rows_in_order_in_two_parts_that_are_not_empty(pieces):
    first, second = halves(pieces)
    assert height(first)
    assert height(second)
    assert together([*first, *second]).equals(together(pieces))


@settings(deadline=None)
@given(PIECES)
def test_halving_ends_with_every_row_alone(pieces):
    alone, rest = [], [pieces]
    while rest:
        part = rest.pop()
        if height(part) > 1:
            rest += reversed(halves(part))
        else:
            alone += part
    assert together(alone).equals(together(pieces))


@settings(deadline=None)
@given(PIECES)
def test_an_insert_and_its_halves_have_different_tokens_which_are_the_same_when_read_again(pieces):
    first, second = halves(pieces)
    assert token("t", pieces) == token("t", [piece.part(0, piece.rows.height) for piece in pieces])
    assert token("t", pieces) not in {token("t", first), token("t", second)}


def test_the_same_offsets_of_another_topic_or_of_a_topic_made_anew_have_another_token():
    tokens = {token("t", [piece(0, [0, 1])]), token("u", [piece(0, [0, 1])]), token("t", [piece(0, [0, 1], timestamp=2_000)])}
    assert len(tokens) == 3


def test_rows_are_located_by_their_position_in_the_batch():
    batch = Batch("t", 2, [b"a", b"b", b"c"], [b""] * 3, [7, 8, 9], [10, 12, 14])
    frame = located(batch, pl.DataFrame({"row": pl.Series([0, 2], dtype=pl.UInt32)}))
    assert frame.rows() == [(0, 2, 10, b"a", 7), (2, 2, 14, b"c", 9)]
