from deploy.output.times import when


def test_a_time_is_iso_8601_in_utc_with_its_zone():
    assert when(1_796_011_381_999) == "2026-11-30T04:03:01Z"


def test_what_is_no_time_is_told_as_nothing():
    assert (when(None), when(0)) == ("", "")
