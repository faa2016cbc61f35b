"""What a test session that is ended from outside leaves behind."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.embedded import processes
from tests.integration.line import PATIENCE

ROOT = Path(__file__).parents[2]

TESTS = """
import time
from pathlib import Path

def test_that_does_not_end(stack):
    (Path(__file__).parent / "stack").write_text(str(stack.settings.data))
    time.sleep(600)

async def test_nothing():
    pass
"""


@pytest.fixture
def session(tmp_path):
    """Starts a test session of one endless test; gives it and its stack's folder, once that runs."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_endless.py").write_text(TESTS)
    started = []

    def start():
        told = tmp_path / "stack"
        told.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), f"--rootdir={tmp_path}"]
        command += [f"--basetemp={tmp_path / 'base' / str(len(started))}", str(tmp_path)]
        started.append(psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        while not told.exists() or not told.read_text():
            assert started[-1].poll() is None
            time.sleep(0.1)
        return started[-1], Path(told.read_text())

    (tmp_path / "base").mkdir()
    yield start
    processes.stop(started, 5)
    for folder in processes.folders():
        if folder.is_relative_to(tmp_path):
            processes.stop(list(processes.find(folder).values()), 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_session_that_is_told_to_end_leaves_no_process(session, number):
    process, folder = session()
    assert len(processes.find(folder)) == 3
    process.send_signal(number)
    assert process.wait(PATIENCE) == pytest.ExitCode.INTERRUPTED
    assert not processes.find(folder)


def test_what_a_killed_session_left_is_stopped_by_the_next_one(session):
    process, folder = session()
    process.kill()
    process.wait()
    assert processes.find(folder)
    session()
    assert not processes.find(folder)
