from agents.gateway.letters import letters, too_large
from schemas import wire
from schemas.bounds import KEY_BYTES, PAYLOAD_BYTES, RECORD_BYTES
from schemas.catalog import DEAD_LETTERS
from schemas.rejects import Reason

LARGE = b"x" * RECORD_BYTES


def test_a_record_with_its_key_has_to_fit():
    assert too_large([b"k", None], [b"v", None]) == []
    assert too_large([], []) == []
    assert too_large([b"k", None, LARGE], [LARGE, LARGE, b""]) == [0]
    assert too_large([LARGE[:600_000], b"k"], [LARGE[:600_000], b"v"]) == [0]


def test_a_letter_about_anything_is_a_record_that_fits():
    row = letters([Reason.TOO_LARGE], ["\ud800" * 9_000], ["t" * 70_000], [LARGE], [LARGE], 1)
    assert (row["value"][0], row["key"][0]) == (LARGE[:PAYLOAD_BYTES], LARGE[:KEY_BYTES])
    assert too_large([None], wire.encode(DEAD_LETTERS.codec, 1, row)) == []
