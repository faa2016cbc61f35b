import logging

from streams.logs import SECONDS, Seldom


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
