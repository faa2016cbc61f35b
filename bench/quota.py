"""Processes held to a share of a core, by Linux's control groups: what one more of them adds shows only where there is a core for it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil

_ROOTS: Final = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
"""Of version 1, and of version 2."""
# Short, so that who has used up its share waits for milliseconds; the kernel's default is ten times as long.
_PERIOD_US: Final = 10_000


class NoQuota(Exception):
    """Whoever runs this may hold no process to a share of a core here."""


@contextmanager
def held_to(cores: float, processes: Sequence[psutil.Popen]) -> Iterator[None]:
    """Each process, with all threads, has at most so much of the processor until the block ends. Raises NoQuota."""
    root = next((root for root in _ROOTS if root.is_dir()), None)
    if root is None:
        raise NoQuota("there are no control groups")
    with ExitStack() as held:
        for process in processes:
            held.enter_context(_held(root, cores, process.pid))
        yield


@contextmanager
def _held(root: Path, cores: float, pid: int) -> Iterator[None]:
    group, quota = root / f"headrace-bench-{os.getpid()}-{pid}", int(cores * _PERIOD_US)
    try:
        group.mkdir()
        if root == _ROOTS[0]:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        raise NoQuota(str(error)) from error
    yield
    (root / "cgroup.procs").write_text(str(pid))
    group.rmdir()
