import pytest

from streams.api import _zoned


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-29T20:00:00 00:00", "2026-11-29T20:00:00+00:00"),
        ("2026-11-29T20:00:00.5 0130", "2026-11-29T20:00:00.5+0130"),
        ("2026-11-29T20:00:00-01:00", "2026-11-29T20:00:00-01:00"),
        ("2026-11-29 20:00:00", "2026-11-29 20:00:00"),
        ("Living room", "Living room"),
    ],
)
def test_a_plus_that_was_not_escaped_in_a_time_is_still_one(text, meant):
    assert _zoned(text) == meant
