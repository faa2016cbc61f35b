"""Log files that stay small whatever is written to them: the newest 8 MiB, and in `<name>.log.1` what was before."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

LOG_BYTES: Final = 8 * 1024 * 1024
"""Of each of a log's two files. Stack, workers and simulators of the demo have eleven logs: 176 MiB at most, and a second of writing."""
LOOK_SECONDS: Final = 0.5


def rotate(log: Path) -> None:
    """Move what is in a file that has grown too large, its end if that is too much, to the file before it.

    The file is emptied and not replaced, as the process that writes to it keeps it open for appending. What comes during the copy is lost.
    """
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return
    if size <= LOG_BYTES:
        return
    # a disk without room for the copy gets it by what follows
    with suppress(OSError), log.open("rb") as file:
        file.seek(size - LOG_BYTES)
        log.with_suffix(".log.1").write_bytes(file.read(LOG_BYTES))
    os.truncate(log, 0)


def bound(log: Path, *, while_: Callable[[], bool]) -> None:
    """Keep a file small in the background, as long as its process runs."""

    def keep() -> None:
        while while_():
            rotate(log)
            time.sleep(LOOK_SECONDS)
        rotate(log)

    threading.Thread(target=keep, daemon=True, name=f"bound {log.name}").start()
