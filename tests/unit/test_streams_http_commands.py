import pytest

from streams.http_commands import LONGEST_WAIT_SECONDS, _seconds
from streams.requests import Malformed


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("2.5", 2.5), ("1e9", LONGEST_WAIT_SECONDS)])
def test_a_device_waits_no_longer_than_proxies_allow(text, seconds):
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "-inf", "soon", "", "9" * 5_000])
def test_a_wait_that_is_no_time_is_refused(text):
    with pytest.raises(Malformed, match="wait is a number of seconds"):
        _seconds(text)
