import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKERS = sorted(path.stem for path in Path("streams").glob("*.py") if "\napp = App(" in path.read_text())
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "POLARS_MAX_THREADS"}


def run(program):
    """What a Python program prints in an environment that says nothing of Polars."""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("worker", WORKERS)
def test_polars_takes_one_thread_in_every_worker(worker, tmp_path):
    program = f"""
import os
os.environ["HEADRACE_DATA"] = {str(tmp_path)!r}
import streams.{worker}
import polars
print(polars.thread_pool_size(), os.environ["POLARS_MAX_THREADS"])"""
    assert run(program) == "1 1\n"


def test_a_worker_does_not_start_where_polars_was_loaded_before_it():
    program = """
import os
os.environ["POLARS_MAX_THREADS"] = "2"
import polars
polars.thread_pool_size()
os.environ["POLARS_MAX_THREADS"] = "1"
from streams.assembly import require_polars_threads
require_polars_threads()"""
    assert run(program) == (
        "Polars was loaded with 2 threads instead of 1: import streams before anything that loads Polars, or set POLARS_MAX_THREADS=1.\n"
    )
