from pathlib import Path

from deploy.embedded.commands import _down
from streams.settings import Settings


def test_the_command_that_stops_a_stack_names_its_folder_unless_that_is_the_usual_one():
    assert _down(Settings(data=Path(".headrace"))) == "headrace down"
    assert _down(Settings(data=Path("/srv/the centre"))) == "HEADRACE_DATA='/srv/the centre' headrace down"
