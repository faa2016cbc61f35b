import pytest

from deploy.embedded.stack import LocalStack, on_free_ports


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """A broker, a registry and an MQTT broker of the test session's own; a test that kills one starts it again before it ends."""
    with LocalStack(on_free_ports(tmp_path_factory.mktemp("stack"))) as running:
        yield running
