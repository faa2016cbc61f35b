import logging
import logging.config
import sys

import faust
import orjson
import pytest
from aiohttp.web import RequestPayloadError
from hypothesis import given
from hypothesis import strategies as st

from streams.worker.log_lines import Json, Plain, Quiet, config


def record(text, *arguments, level=logging.INFO, path="streams/watching.py", error=None):
    made = logging.LogRecord("streams.watching", level, path, 1, text, arguments, error)
    made.created = 1_790_000_000.5
    return made


def raised():
    try:
        int("bad\nvalue")
    except ValueError:
        return sys.exc_info()


def test_a_line_is_time_level_and_message_without_the_mark_of_a_service():
    line = Plain().format(record("[^--Watching]: lane_opened partition=%d", 2))
    assert line == "2026-09-21T14:13:20.500Z INFO Watching: lane_opened partition=2"


@given(st.text(), st.sampled_from([Plain(), Json()]))
def test_an_event_is_one_line_whatever_it_says(text, form):
    assert len(form.format(record("%s", text)).splitlines()) == 1


@pytest.mark.parametrize("form", [Plain(), Json()])
def test_no_password_of_an_address_is_logged(form):
    away = OSError("http://svc:S3CRET@registry:1 is away")
    line = form.format(record("asked %s", "mqtt://gw:S3CRET@broker", error=(OSError, away, None)))
    assert "S3CRET" not in line
    assert "mqtt://broker" in line


def test_a_table_is_one_line():
    table = "+Topic+\n| a | 1 |\n| b | 2 |\n"
    assert "\n" not in Plain().format(record("Setting newly assigned:\n%s", table))


def test_json_has_the_traceback_within_the_line_and_plain_behind_it():
    failed = record("failed", level=logging.ERROR, error=raised())
    said = orjson.loads(Json().format(failed))
    assert said | {"exception": ""} == {
        "time": "2026-09-21T14:13:20.500Z",
        "level": "ERROR",
        "logger": "streams.watching",
        "message": "failed",
        "exception": "",
    }
    assert "ValueError: invalid literal" in said["exception"]
    first, *others = Plain().format(failed).splitlines()
    assert first == "2026-09-21T14:13:20.500Z ERROR failed"
    assert others[0] == "Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("text", "level", "told"),
    [
        ("[^--Consumer]: Starting...", logging.INFO, False),
        ("[^--Recovery]: Worker ready", logging.INFO, True),
        ("[^--Consumer]: something is wrong", logging.WARNING, True),
        ("Timer %s is overlapping (interval=%r runtime=%r)", logging.WARNING, False),
    ],
)
def test_what_libraries_say_that_is_no_problem_is_left_out(text, level, told):
    assert Quiet().filter(record(text, level=level, path=faust.__file__)) is told
    assert Quiet().filter(record(text, level=level))


@pytest.fixture
def _afterwards():
    """The loggers as they were."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.usefixtures("_afterwards")
def test_a_file_is_kept_within_its_size_and_the_one_before_beside_it(tmp_path):
    file = tmp_path / "worker.log"
    logging.config.dictConfig(config("plain", logging.INFO, str(file), 1))
    for _ in range(300):
        logging.getLogger("streams.somewhere").info("x" * 10_000)
    logging.root.handlers[0].close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["worker.log", "worker.log.1"]
    assert all(path.stat().st_size <= 1 << 20 for path in tmp_path.iterdir())


def test_a_clients_broken_body_met_after_its_answer_is_no_error_of_the_worker():
    error = RequestPayloadError("400, message: Can not decode content-encoding: gzip")
    failed = record("Unhandled exception", level=logging.ERROR, path="aiohttp/web_protocol.py", error=(type(error), error, None))
    assert not Quiet().filter(failed)
    assert Quiet().filter(record("Unhandled exception", level=logging.ERROR, path="aiohttp/web_protocol.py", error=raised()))
