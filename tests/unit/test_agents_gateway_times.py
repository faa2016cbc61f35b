import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.gateway.times import ISO, UNITS, milliseconds, misdated, plausible, whole

AT = 1_790_000_000_123


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (AT, "ms", AT),
        (float(AT), "ms", AT),
        (1_790_000_000, "s", 1_790_000_000_000),
        (1.79e9, "s", 1_790_000_000_000),
        (AT * 1000 + 999, "us", AT),
        (AT * 1_000_000 + 999_999, "ns", AT),
        ("2026-11-29T20:00:00Z", ISO, 1_795_982_400_000),
        ("2026-11-29T21:00:00.250+01:00", ISO, 1_795_982_400_250),
        ("2026-11-29T20:00:00.123456789Z", ISO, 1_795_982_400_123),
        ("20261129T200000+0000", ISO, 1_795_982_400_000),
        ("2026-11-29t20:00:00z", ISO, 1_795_982_400_000),
        ("1969-12-31T23:59:59.999Z", ISO, -1),
    ],
)
def test_a_time_is_read_in_the_unit_its_row_names(value, unit, expected):
    assert milliseconds(value, unit) == expected


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (1.5, "ms", "1.5 is no whole number of ms"),
        (1_790_000_000.25, "s", "1790000000.25 is no whole number of s: send whole milliseconds, and say time_unit: ms"),
        ("1790000000", "s", "'1790000000' is no whole number of s"),
        (True, "s", "True is no whole number"),
        (float("inf"), "s", "inf is no whole number"),
        ([1], "ms", "[1] is no whole number"),
        ("2026-11-29T20:00:00", ISO, "names no zone"),
        ("2026-11-29", ISO, "names no zone"),
        ("yesterday", ISO, "'yesterday' is no time of ISO 8601, like 2026-11-29T20:00:00Z"),
        ("2026-12-31T23:59:60Z", ISO, "is no time of ISO 8601: second"),
        ("2026-02-30T00:00:00Z", ISO, "is no time of ISO 8601: day"),
        ("0000-01-01T00:00:00Z", ISO, "is no time of ISO 8601: year"),
        (AT, ISO, "is no time of ISO 8601"),
        (None, ISO, "None is no time"),
    ],
)
def test_what_is_no_time_says_so(value, unit, said):
    with pytest.raises(ValueError, match=r".") as raised:
        milliseconds(value, unit)
    assert said in str(raised.value)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()), st.sampled_from([*UNITS, ISO]))
def test_any_value_is_a_time_or_a_value_error(value, unit):
    try:
        assert type(milliseconds(value, unit)) is int
    except ValueError:
        assert unit == ISO or whole(value) is None


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (AT, "s", "it looks like milliseconds, the row's time_unit is s"),
        (AT // 1000, "us", "it looks like seconds, the row's time_unit is us"),
        (AT * 1000, "ns", "it looks like microseconds"),
        (AT * 1_000_000, "ms", "it looks like nanoseconds"),
    ],
)
def test_a_row_with_the_wrong_unit_is_told(value, unit, said):
    with pytest.raises(ValueError, match=said):
        plausible(value, unit)


@pytest.mark.parametrize("value", [1e300, -1e300, 2**64 - 1])
def test_a_time_of_more_milliseconds_than_a_long_has_is_told(value):
    with pytest.raises(ValueError, match=r"is no time in seconds: it has more than 63 bits of milliseconds"):
        plausible(value, "s")


def test_a_time_that_no_unit_makes_sound_is_left_to_who_knows_when_it_came():
    assert plausible(5, "s") == 5_000
    assert misdated(5, AT) == f"timestamp is 5, arrived at {AT}"


@pytest.mark.parametrize("value", [None, True, "", "1790000000000", "2026-09-21T14:13:20", {}, [1], 0.5, float("nan")])
def test_what_is_no_time_at_all_is_told_what_is_expected(value):
    assert misdated(value, AT, "{}").endswith(f", arrived at {AT}: a whole number of milliseconds is expected")


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()), st.integers(-(2**63), 2**63 - 1))
def test_whatever_a_time_is_it_is_said(value, arrival):
    assert misdated(value, arrival, "{}").startswith("timestamp is ")
