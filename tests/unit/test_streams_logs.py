import logging

from aiohttp.http_exceptions import ContentEncodingError

from streams.logs import OneLine, Seldom


def record(line, at):
    made = logging.LogRecord("aiokafka", logging.ERROR, "client.py", line, "away", (), None)
    made.created = at
    return made


def test_a_repeated_line_passes_ever_more_seldom():
    seldom = Seldom()
    passed = [second for second in range(3_000) if seldom.filter(record(1, float(second)))]
    assert passed == [0, 10, 30, 70, 150, 310, 630, 1270, 1910, 2550]


def test_a_line_that_was_silent_passes_as_at_first():
    seldom = Seldom()
    at = [*range(100), *range(1_000, 1_025)]
    assert [second for second in at if seldom.filter(record(1, float(second)))] == [0, 10, 30, 70, 1_000, 1_010]


def test_lines_of_different_places_do_not_hide_each_other():
    seldom = Seldom()
    assert seldom.filter(record(1, 0.0))
    assert seldom.filter(record(2, 0.0))


def test_a_request_that_is_none_is_told_of_in_one_line_and_a_fault_of_ours_with_its_traceback():
    def told(error):
        made = logging.LogRecord("aiohttp.server", logging.ERROR, "web.py", 1, "Error handling request", (), (type(error), error, None))
        assert OneLine().filter(made)
        return made.getMessage(), made.exc_info is None

    assert told(ContentEncodingError("no\nBrotli")) == (r"http_refused status=400 reason='no\nBrotli'", True)
    assert told(ValueError("ours")) == ("Error handling request", False)
