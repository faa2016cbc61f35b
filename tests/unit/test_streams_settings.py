import pytest

from streams.settings import settings


@pytest.fixture(autouse=True)
def _afresh():
    """Read the environment now, and again by whoever comes next."""
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_variables_that_cannot_be_used_are_named_and_end_the_process(monkeypatch):
    monkeypatch.setenv("HEADRACE_ESCALATE_MINUTES", "-1")
    monkeypatch.setenv("HEADRACE_BROKER_HEAP_MB", "much")
    with pytest.raises(SystemExit) as ended:
        settings()
    first, second = str(ended.value).splitlines()
    assert first.startswith("HEADRACE_ESCALATE_MINUTES: ")
    assert second.startswith("HEADRACE_BROKER_HEAP_MB: ")
    assert second.endswith("not 'much'")


def test_settings_are_read_once(monkeypatch):
    before = settings()
    monkeypatch.setenv("HEADRACE_TENANT", "another")
    assert settings() is before
