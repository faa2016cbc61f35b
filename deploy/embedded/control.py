"""Start, find and stop the background stack: what the commands do, without the terminal."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import psutil

from deploy.embedded import preflight, processes
from deploy.embedded.errors import StackError
from deploy.embedded.service import START_SECONDS, STOP_SECONDS, WORK_SECONDS
from deploy.embedded.stack import LocalStack
from deploy.patience import Patience
from schemas.folders import private
from streams.settings import Settings

SUPERVISOR: Final = "supervisor"


def supervisor(settings: Settings) -> psutil.Process | None:
    """The process that owns the stack of the settings' data folder."""
    return processes.find(settings.data).get(SUPERVISOR)


def launch(settings: Settings, report: Callable[[str], None]) -> None:
    """Start the supervisor in the background; return when everything answers. StackError, or Ctrl-C, leaves nothing running."""
    data = settings.data.resolve()
    preflight.require_disk(data)
    private(data / "logs")
    with (data / "logs" / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.embedded.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=settings.environment(**processes.marks(data, SUPERVISOR)),
            start_new_session=True,
            text=True,
        )
    try:
        _follow(process, report)
    except BaseException:
        process.terminate()
        process.wait(2 * STOP_SECONDS)
        raise


def _follow(process: "subprocess.Popen[str]", report: Callable[[str], None]) -> None:
    for line in process.stdout or ():
        message = json.loads(line)
        if "ready" in message:
            return
        if "error" in message:
            raise StackError(message["error"])
        report(message["step"])
    raise StackError(f"The supervisor stopped with exit code {process.wait()}: see supervisor.log in the data folder's logs.")


def await_ready(settings: Settings) -> None:
    """Return when the stack that somebody else started answers."""
    patience = Patience(START_SECONDS)
    waiting = list(LocalStack(settings).services)
    while waiting := [service for service in waiting if not service.answers()]:
        if supervisor(settings) is None:
            raise StackError("The stack was stopped while it started.")
        if not patience.lasts(sum(map(processes.worked, processes.find(settings.data).values())) // WORK_SECONDS):
            raise StackError(
                f"The stack runs, but {waiting[0].name} does not answer on {waiting[0].host}:{waiting[0].port}: see {waiting[0].log}. "
                "If it was started with other settings, `headrace down` first."
            )
        time.sleep(0.2)


def shut_down(settings: Settings) -> list[str]:
    """Stop the supervisor, which stops its services, then whatever it left; the names of what ran."""
    found = processes.find(settings.data)
    owner = found.pop(SUPERVISOR, None)
    if owner is not None:
        processes.stop([owner], 2 * STOP_SECONDS)
    processes.stop(list(processes.find(settings.data).values()), STOP_SECONDS)
    return sorted(found)
