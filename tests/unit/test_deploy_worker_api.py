"""Whatever answers a command over HTTP is told in a sentence, and cannot write on the screen what it likes."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from deploy import alerts_commands, command_commands

COMMANDS = {
    "desk": (alerts_commands.app, ["show", "x"]),
    "desk action": (alerts_commands.app, ["acknowledge", "x"]),
    "gateway": (command_commands.app, ["show", "x"]),
    "gateway action": (command_commands.app, ["send", "on", "--device", "d"]),
}


def told(answer, which):
    """What the command does and says when this is what it is answered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "request", lambda method, url, **_: answer(httpx.Request(method, url)))
        return CliRunner().invoke(*COMMANDS[which])


def responds(status, content):
    return lambda request: httpx.Response(status, content=content, request=request)


@pytest.mark.parametrize("which", COMMANDS)
@pytest.mark.parametrize(
    ("status", "body", "exit_code", "said"),
    [
        (404, b"404: Not Found", 1, "There is nothing of that name"),
        (500, b"<html>", 1, "Status 500, and no answer"),
        (200, b"[]", 1, "Status 200, and no answer"),
        (200, b"<html>welcome</html>", 1, "to where one is."),
        (200, b"\xff", 1, "to where one is."),
        (200, b'{"version": 3}', 1, "to where one is."),
        (400, b'{"error": "limit: too many", "problems": []}', 1, "limit: too many\n"),
        (409, b'{"error": "\\u001b]0;x\\u0007 begins two"}', 1, "\\x1b]0;x\\x07 begins two\n"),
        (503, b'{"error": "Kafka does not answer"}', 2, "Kafka does not answer\n"),
    ],
)
def test_whatever_answers_there_is_told_in_a_sentence(which, status, body, exit_code, said):
    found = told(responds(status, body), which)
    assert (found.exit_code, found.stdout) == (exit_code, "")
    assert said in found.stderr


@given(st.sampled_from([*COMMANDS]), st.sampled_from([200, 201, 204, 301, 400, 404, 500, 503]), st.binary(max_size=20))
def test_no_answer_is_a_traceback_or_moves_the_cursor(which, status, body):
    found = told(responds(status, body), which)
    assert isinstance(found.exception, SystemExit)
    assert found.exit_code == 1
    assert found.stderr.rstrip("\n").isprintable()


@pytest.mark.parametrize("which", COMMANDS)
def test_no_answer_at_all_says_what_to_start(which):
    def away(request):
        raise httpx.ConnectError("Connection refused", request=request)

    found = told(away, which)
    worker = which.split()[0]
    assert found.exit_code == 2
    assert f"Start one (faust -A streams.{worker} worker), or set HEADRACE_{worker.upper()}." in found.stderr


def test_what_a_gateway_says_of_a_request_cannot_move_the_cursor():
    found = told(responds(200, b'{"request_id": "a\\u001b[2J", "devices": 1}'), "gateway action")
    assert (found.exit_code, found.stdout) == (0, "a\\x1b[2J\n")
