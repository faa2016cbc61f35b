"""A service that starts slowly is waited for as long as it works."""

import sys
from contextlib import contextmanager

import pytest

from deploy.embedded import service
from deploy.embedded.errors import StackError
from deploy.embedded.service import Service
from streams.settings import Settings

SLOW = """
import time
end = time.process_time() + 3
while time.process_time() < end:
    pass
open("ready", "w").close()
time.sleep(60)
"""


class Program(Service):
    """A Python program that answers when it has written `ready`."""

    name = "kafka"

    def __init__(self, data, program):
        super().__init__(Settings(data=data))
        self._program = program

    def command(self):
        return [sys.executable, "-c", self._program]

    def answers(self):
        return (self.folder / "ready").exists()


@contextmanager
def started(data, program):
    running = Program(data, program)
    running.start()
    try:
        yield running
    finally:
        running.stop(1)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(service, "START_SECONDS", 2.0)
    monkeypatch.setattr(service, "WORK_SECONDS", 0.05)
    monkeypatch.setattr(service, "SAY_SECONDS", 0.5)


def test_a_start_that_takes_longer_than_the_patience_but_works_is_waited_for_and_said(tmp_path):
    said = []
    with started(tmp_path, SLOW) as program:
        program.wait(said.append)
    assert said
    assert "waiting for kafka" in said[0]
    assert "kafka.log" in said[0]


def test_a_service_that_neither_answers_nor_works_is_given_up(tmp_path):
    with started(tmp_path, "import time; time.sleep(60)") as program, pytest.raises(StackError, match="does not answer on"):
        program.wait()


def test_a_service_that_stopped_is_not_waited_for(tmp_path):
    with started(tmp_path, "raise SystemExit(3)") as program, pytest.raises(StackError, match="exit code 3"):
        program.wait()
