import signal
from contextlib import suppress

import pytest
from filelock import FileLock, Timeout

from deploy.embedded import processes
from deploy.embedded.stack import LocalStack, on_free_ports

LOCK = "session.lock"


def pytest_configure():
    """A SIGTERM is a Ctrl-C: the fixtures stop what they started. A second one must not interrupt that."""

    def interrupt(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)


@pytest.fixture(scope="session", autouse=True)
def orphans(tmp_path_factory):
    """Stop what sessions left that were killed before they could: such a session holds the lock of its folder no more."""
    base = tmp_path_factory.getbasetemp()
    with FileLock(base / LOCK):
        for folder in processes.folders():
            if base.parent in folder.parents:
                session = base.parent / folder.relative_to(base.parent).parts[0]
                with suppress(Timeout), FileLock(session / LOCK, timeout=0):
                    processes.stop(list(processes.find(folder).values()), 5)
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A broker, a registry and an MQTT broker of the test session's own; a test that kills one starts it again before it ends."""
    with LocalStack(on_free_ports(tmp_path_factory.mktemp("stack"))) as running:
        yield running
