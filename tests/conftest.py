import signal
from contextlib import closing, suppress

import hypothesis
import pytest
from filelock import FileLock, Timeout

from bench.jobs import OURS, fresh
from deploy.embedded import processes
from deploy.embedded.stack import LocalStack, on_free_ports
from tests.integration.line import Topics

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

LOCK = "session.lock"


def pytest_configure():
    """A SIGTERM is a Ctrl-C: the fixtures stop what they started. A second one must not interrupt that."""

    def interrupt(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)


def pytest_collection_modifyitems(items):
    """Modules of minutes begin first, and the others fill in beside them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def orphans(tmp_path_factory):
    """Stop what sessions left that were killed before they could: such a session holds the lock of its folder no more."""
    base = tmp_path_factory.getbasetemp()
    with FileLock(base / LOCK):
        for folder in processes.folders():
            # with -n each of a run's processes is a session
            session = next((parent for parent in folder.parents if (parent / LOCK).exists()), None)
            if session and base.parent in session.parents:
                with suppress(Timeout), FileLock(session / LOCK, timeout=0):
                    processes.stop(list(processes.find(folder).values()), 5)
        yield


@pytest.fixture(scope="session")
def recorded(orphans, tmp_path_factory):
    """The JVMs' ahead-of-time caches. A run starts dozens of JVMs: the first of its processes records for all, on a new machine."""
    folder = tmp_path_factory.mktemp("recorded")
    with FileLock(tmp_path_factory.getbasetemp().parent / "recorded.lock"):
        stack = LocalStack(on_free_ports(folder))
        if not all(service.cache.exists() for service in stack.services):
            with stack:
                pass


@pytest.fixture(scope="session")
def stack(recorded, tmp_path_factory):
    """A broker, a registry and an MQTT broker of the test session's own; a test that kills one starts it again before it ends."""
    with LocalStack(on_free_ports(tmp_path_factory.mktemp("stack"))) as running:
        yield running


@pytest.fixture(scope="module")
def own_stack(recorded, tmp_path_factory, request):
    """A broker and a registry of the test module's own."""
    folder = tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])
    with LocalStack(on_free_ports(folder), ("kafka", "registry")) as running:
        yield running


@pytest.fixture(scope="module")
def kafka(own_stack):
    """Settings of the test module's own broker and registry."""
    return own_stack.settings


@pytest.fixture
def topics(kafka):
    """The factory's topics, empty, as before its first worker ever."""
    fresh(kafka, OURS, keep_readings=False)
    with closing(Topics(kafka)) as topics:
        yield topics
