"""`make demo-soak N=10`: the demo as a newcomer runs it, again and again, at times beside programs that take all cores.

A fresh clone of what is committed, a home folder of its own (nothing cached), `make demo FOR=60`. Every second run goes on with the data of
the one before. One line a run and a summary; exits 0 only if every run did. Needs git, make and Python, nothing installed.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Final

ROOT: Final = Path(__file__).parents[1]
MOST_SECONDS: Final = 3600
"""Of one run: a machine that takes longer is stuck. The busy loops end by themselves then, too."""
BUSY: Final = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
TAIL: Final = 15
UNSET: Final = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV", "M2_REPO", "JGO_CACHE_DIR", "HEADRACE_DATA")
"""Of what would lead to something that is there already."""


@dataclass(frozen=True)
class Run:
    """How one ended."""

    number: int
    busy: bool
    code: int
    seconds: float
    load: float
    said: str

    @property
    def is_clean(self) -> bool:
        """Whether it did what it should, and said so."""
        return self.code == 0 and "WRONG" not in self.said and "Ended, all well" in self.said

    def __str__(self) -> str:
        beside = "beside two busy loops" if self.busy else "by itself"
        how = "clean" if self.is_clean else "NOT CLEAN"
        return f"run {self.number}, {beside}: exit {self.code}, {self.seconds:.0f} s, load {self.load:.1f}, {how}"


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=10)
    parser.add_argument("--busy", type=int, default=3, help="So many of the runs beside two busy loops.")
    parser.add_argument("--for", dest="seconds", type=int, default=60)
    options = parser.parse_args()
    busy = beside_loops(options.runs, options.busy)
    with tempfile.TemporaryDirectory(prefix="headrace-soak-") as folder:
        clone, home = Path(folder) / "clone", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        ends = []
        for number in range(1, options.runs + 1):
            if number % 2:
                rmtree(clone / ".headrace", ignore_errors=True)
            ends.append(_run(clone, home, number, number in busy, options.seconds))
            print(ends[-1], flush=True)
            if not ends[-1].is_clean:
                print(*ends[-1].said.splitlines()[-TAIL:], sep="\n", flush=True)
    clean = sum(run.is_clean for run in ends)
    worst = max(run.seconds for run in ends)
    print(f"{clean} of {len(ends)} runs clean, {sum(run.busy for run in ends)} of them beside two busy loops, the longest {worst:.0f} s")
    sys.exit(0 if clean == len(ends) else 1)


def beside_loops(runs: int, busy: int) -> set[int]:
    """Which runs, counted from 1, are beside the loops: so many, spread over all."""
    return {round((number + 1) * runs / (busy + 1)) for number in range(busy)} - {0}


def _run(clone: Path, home: Path, number: int, busy: bool, seconds: int) -> Run:
    log = clone / f"run-{number}.log"
    began = time.monotonic()
    with _loops(2 if busy else 0), log.open("wb") as output:
        newcomer = ["env", *(f"--unset={name}" for name in UNSET), f"HOME={home}"]
        process = subprocess.Popen(
            [*newcomer, "make", "demo", f"FOR={seconds}"],
            cwd=clone,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code = process.wait(MOST_SECONDS)
        except BaseException as problem:
            # it stops in order, and what it started with it
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            if not isinstance(problem, subprocess.TimeoutExpired):
                raise
            code = 124
        load = os.getloadavg()[0]
    return Run(number, busy, code, time.monotonic() - began, load, log.read_text(errors="replace"))


@contextmanager
def _loops(count: int) -> Iterator[None]:
    """Programs that take a core each."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY.format(seconds=MOST_SECONDS)]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    main()
