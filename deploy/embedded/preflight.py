"""What is checked before anything starts, each with its remedy: ports, disk, memory."""

import os
import random
import shlex
import shutil
import socket
from itertools import islice
from pathlib import Path
from typing import Final

import psutil

from deploy.embedded import processes
from deploy.embedded.errors import StackError
from schemas.folders import private

MIB: Final = 1024 * 1024
FREE_DISK_MIB: Final = 1024
OVERHEAD_MIB: Final = 560  # what the three JVMs take beside their heaps, measured

_PLACES: Final = 20  # in which processes begin to look for free ports
_GIVEN: Final[set[int]] = set()


def require_port(name: str, host: str, port: int) -> None:
    """StackError if something listens on a service's port."""
    if not is_free(host, port):
        raise StackError(
            f"Port {port}, which {name} needs, is taken by {holder(port)}. Stop that, or choose another port with HEADRACE_{name.upper()}."
        )


def require_disk(folder: Path) -> None:
    """StackError if the data folder cannot be written or its disk is nearly full."""
    try:
        private(folder)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise StackError(f"Cannot write to the data folder {folder}: {error.strerror}. Choose another one with HEADRACE_DATA.") from error
    free = shutil.disk_usage(folder).free // MIB
    if free < FREE_DISK_MIB:
        raise StackError(
            f"Only {free} MB are free for the data folder {folder}; {FREE_DISK_MIB} MB are needed. Make room or set HEADRACE_DATA."
        )


def require_memory(heaps_mib: int) -> None:
    """StackError if the heaps of the services to start, in MiB, do not fit in what is free."""
    free = psutil.virtual_memory().available // MIB
    needed = heaps_mib + OVERHEAD_MIB
    if free < needed:
        raise StackError(
            f"Only {free} MB of memory are free; {needed} MB are needed. "
            "Stop other programs, or lower HEADRACE_BROKER_HEAP_MB (now part of that sum)."
        )


def free_ports(count: int, within: range = range(20_000, 30_000)) -> list[int]:
    """Different ports that nobody listens on, below the range from which the kernel takes outgoing connections' ports.

    Inside that range a client that keeps dialling a dead server's port can end up connected to itself, and the server finds its port taken.
    A process is given none twice while there are others, and begins in a place of its own: until somebody listens, it is free for all.
    """
    size = len(within) // _PLACES
    place = os.getpid() % _PLACES * size
    own, others = within[place : place + size], [*within[:place], *within[place + size :]]
    ports = sorted([*random.sample(own, len(own)), *random.sample(others, len(others))], key=_GIVEN.__contains__)
    found = list(islice((port for port in ports if is_free("127.0.0.1", port)), count))
    _GIVEN.update(found)
    return found


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder(port: int) -> str:
    """Who has a port, in words: which process, of which stack, and whether it listens there or the port is its end of a connection."""
    try:
        ends = [c for c in psutil.net_connections("tcp") if tuple(c.laddr)[1:] == (port,) and c.pid]
        end = min(ends, key=lambda c: c.status != psutil.CONN_LISTEN)
        process = psutil.Process(end.pid)
        if ours := processes.belonging(process.pid):
            folder, service = ours
            who = f"{service} (pid {process.pid}) of Headrace's own stack in {folder}, which HEADRACE_DATA={shlex.quote(str(folder))} names"
        else:
            who = f"{process.name()} (pid {process.pid}: {' '.join(process.cmdline())[:120]})"
    except (psutil.Error, ValueError):
        return "a program that cannot be seen from here, or a connection that has just ended"
    if end.status == psutil.CONN_LISTEN:
        return who
    return f"a connection of {who}: the system gives its connections such ports, one below 30000 stays free"
