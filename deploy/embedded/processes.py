"""Which processes are a stack's: the environment of each names its data folder, so a foreign process is never taken for one of ours.

Pid files lie after a crash and a reused pid is somebody else's; the process table does not.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from streams.base.variables import FOLDER, SERVICE


def marks(data: Path, service: str) -> dict[str, str]:
    """Environment variables that mark a process as that service of the stack in that data folder."""
    return {FOLDER: str(data.resolve()), SERVICE: service}


def find(data: Path) -> dict[str, psutil.Process]:
    """The stack's running processes by service name, without the one that asks."""
    folder = str(data.resolve())
    return {marked.get(SERVICE, str(process.pid)): process for process, marked in _marked() if marked[FOLDER] == folder}


def belonging(pid: int) -> tuple[Path, str] | None:
    """The data folder and the service of a process that is of a stack."""
    try:
        marked = psutil.Process(pid).environ()
    except psutil.Error:
        return None
    return (Path(marked[FOLDER]), marked.get(SERVICE, "a process")) if FOLDER in marked else None


def folders() -> set[Path]:
    """The data folders of all stacks with a running process on this machine."""
    return {Path(marked[FOLDER]) for _, marked in _marked()}


def _marked() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    own = os.getpid()
    for process in psutil.process_iter(["environ", "status"]):
        environment = process.info["environ"] or {}
        if process.pid != own and FOLDER in environment and process.info["status"] != psutil.STATUS_ZOMBIE:
            yield process, environment


def worked(process: psutil.Process) -> float:
    """Seconds a process has computed, or waited for its disk: what starts on a busy machine does one or the other."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0
    return float(times.user + times.system + getattr(times, "iowait", 0.0))


def stop(processes: Sequence[psutil.Process], patience: float) -> None:
    """SIGTERM to all, then SIGKILL to those that still run after `patience` seconds."""
    for process in processes:
        try:
            process.terminate()
            process.resume()  # a stopped process would not see the signal
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=patience)
