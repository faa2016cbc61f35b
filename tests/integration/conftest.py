import pytest


@pytest.fixture(scope="session", autouse=True)
def _without_orphans(orphans):
    """All of these start real parts."""
