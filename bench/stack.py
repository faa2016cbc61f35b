"""The servers a benchmark runs against, stopped however it ends."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench.measure import BenchError
from bench.mosquitto import Mosquitto
from deploy.embedded.errors import StackError
from deploy.embedded.stack import LocalStack, on_free_ports


@contextmanager
def local_stack(folder: Path, *services: str) -> Iterator[LocalStack]:
    """Services of the local stack on ports that are free. What goes wrong, SIGTERM included, ends the program in one line."""
    signal.signal(signal.SIGTERM, _terminated)
    # a session of an earlier gateway's would gather every message, and Mosquitto stands still while it saves them
    shutil.rmtree(folder / "mqtt", ignore_errors=True)
    try:
        with LocalStack(on_free_ports(folder), services, Console(stderr=True).print, mqtt=Mosquitto) as stack:
            yield stack
    except (BenchError, StackError) as error:
        raise SystemExit(f"bench: {error}") from error


def _terminated(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
