import logging

from aiohttp.http_exceptions import ContentEncodingError

from streams.logs import SECONDS, OneLine, Seldom


def record(line, at):
    made = logging.LogRecord("aiokafka", logging.ERROR, "client.py", line, "away", (), None)
    made.created = at
    return made


def test_a_repeated_line_passes_once_in_a_while():
    seldom = Seldom()
    assert [seldom.filter(record(1, at)) for at in (0.0, 0.1, SECONDS - 0.1, SECONDS, SECONDS + 0.1)] == [True, False, False, True, False]


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
