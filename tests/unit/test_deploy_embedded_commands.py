import socket
from pathlib import Path

import pytest

from deploy.embedded.commands import _down
from deploy.embedded.control import launch
from deploy.embedded.errors import StackError
from deploy.embedded.stack import on_free_ports
from streams.settings import Settings


def test_the_command_that_stops_a_stack_names_its_folder_unless_that_is_the_usual_one():
    assert _down(Settings(data=Path(".headrace"))) == "headrace down"
    assert _down(Settings(data=Path("/srv/the centre"))) == "HEADRACE_DATA='/srv/the centre' headrace down"


def test_a_refused_start_is_one_line_of_the_supervisors_log_without_a_traceback(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = on_free_ports(tmp_path).model_copy(update={"kafka": f"127.0.0.1:{taken.getsockname()[1]}"})
        with pytest.raises(StackError, match="which kafka needs, is taken by"):
            launch(refused, lambda _: None)
    (line,) = (tmp_path / "logs" / "supervisor.log").read_text().splitlines()
    assert "ERROR" in line
    assert "which kafka needs, is taken by" in line
