import signal
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from deploy.embedded import processes
from deploy.embedded.stack import LocalStack, on_free_ports


def pytest_configure():
    """A SIGTERM is a Ctrl-C: the fixtures stop what they started. A second one must not interrupt that."""

    def interrupt(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)


def stop_orphans(root: Path) -> None:
    """Stop the stacks under a folder whose owner was killed before it could: it holds their lock no more."""
    for folder in processes.folders():
        if folder.is_relative_to(root):
            with suppress(Timeout), FileLock(folder / "stack.lock", timeout=0):
                processes.stop(list(processes.find(folder).values()), 5)


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A broker, a registry and an MQTT broker of the test session's own; a test that kills one starts it again before it ends."""
    stop_orphans(tmp_path_factory.getbasetemp().parent)
    with LocalStack(on_free_ports(tmp_path_factory.mktemp("stack"))) as running:
        yield running
