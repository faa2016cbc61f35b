import subprocess
import sys
from pathlib import Path

import pytest

from streams.worker.names import refusal, workers

LIST = "city, desk, factory, gateway, uplink, warehouse"


def test_the_workers_are_the_modules_with_an_app():
    assert ", ".join(workers()) == LIST


@pytest.mark.parametrize("arguments", [["-A", "{}"], ["--app", "{}"], ["--app={}"], ["-A{}"], ["-l", "info", "-A", "{}", "worker"]])
@pytest.mark.parametrize(
    ("app", "said"),
    [
        ("streams.nosuch", f"no worker nosuch; there are {LIST}"),
        ("streams.Factory", f"no worker Factory; there are {LIST}"),
        ("streams.clock", f"no worker clock; there are {LIST}"),
        ("streams.worker.names", f"no worker worker.names; there are {LIST}"),
        ("streams.nosuch:app", f"no worker nosuch; there are {LIST}"),
        ("streams.", f"which worker? There are {LIST}"),
        ("streams", f"which worker? There are {LIST}"),
        ("streams.factory", ""),
        ("streams.factory:app", ""),
        ("streams.factory.app", ""),
        ("somebody.elses", ""),
        ("streamsandmore.x", ""),
    ],
)
def test_who_asks_for_no_worker_is_told_which_there_are(arguments, app, said):
    assert refusal([argument.format(app) for argument in arguments]) == said


def test_who_asks_for_nothing_is_left_to_faust():
    assert refusal([]) == refusal(["-A"]) == refusal(["worker"]) == ""


@pytest.mark.parametrize("app", ["streams.nosuch", "streams."])
def test_the_faust_command_says_it_in_one_line_and_exits_with_1(app):
    faust = Path(sys.executable).with_name("faust")
    done = subprocess.run([faust, "-A", app, "worker"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f"here are {LIST}\n")
