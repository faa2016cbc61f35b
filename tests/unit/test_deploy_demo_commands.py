"""`headrace demo` finds its ports when those of the stack are taken."""

import socket
from contextlib import contextmanager

import pytest
import typer

from deploy.demo import commands
from deploy.embedded import preflight
from streams.settings import Settings


def test_the_gateway_gets_no_port_that_the_stack_is_about_to_take(monkeypatch, tmp_path):
    ports = preflight.free_ports(8)
    asked = []

    @contextmanager
    def stack(_):
        with socket.create_server(("127.0.0.1", ports[0])):
            yield

    def run(ours, *_):
        asked.extend(int(address.rpartition(":")[2]) for address in (ours.gateway_http, ours.gateway_websocket, ours.gateway_coap))
        raise commands.Stopped

    monkeypatch.setattr(preflight, "free_ports", lambda count: [port for port in ports if preflight.is_free("127.0.0.1", port)][:count])
    monkeypatch.setattr(commands, "settings", lambda: Settings(kafka=f"127.0.0.1:{ports[0]}", data=tmp_path))
    monkeypatch.setattr(commands, "download", lambda: None)
    monkeypatch.setattr(commands, "_stack", stack)
    monkeypatch.setattr(commands, "_run", run)
    monkeypatch.setattr(commands, "_listen", lambda _: None)
    with pytest.raises(typer.Exit):
        commands.demo()
    assert asked == ports[1:4]
