import pytest
from typer.testing import CliRunner

from deploy.device_commands import app


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["token", "a/b"], "device"),
        (["token", "+"], "device"),
        (["token", "lamp-1", "--tenant", "a b"], "tenant"),
        (["token", "lamp-1", "--publish", "a/#/b"], "publish"),
        (["certificate", "lamp-1", "--subject", "O=City"], "--subject"),
        (["passwd", "", "--password", "secret"], "device"),
        (["passwd", "lamp-1", "--password", ""], "password: an empty one lets everybody in"),
        (["token", "lamp-1", "--publish", " "], "publish: a topic filter is needed"),
        (["certificate", "lamp-1", "--subject", "CN="], "--subject: 'CN=' is neither"),
        (["add", "a b", "--type", "street_light"], "device_id: 'a b' cannot be"),
        (["add", "lamp-1", "--type", "street_light", "--latitude", "91"], "latitude"),
    ],
)
def test_what_cannot_be_a_credential_is_said_before_kafka_is_asked(words, said):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert done.output.startswith(said)
    assert len(done.output.splitlines()) == 1


def test_a_password_is_asked_for_twice():
    done = CliRunner().invoke(app, ["passwd", "lamp-1"], input="one\nother\n")
    assert done.exit_code != 0
    assert "match" in done.output
