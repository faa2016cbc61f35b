import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from deploy import checks
from deploy.checks import Ill, clock
from streams.settings import Settings


@pytest.fixture
def told_by():
    """Settings of a server whose clock is so many seconds off."""
    servers = []

    def serve(seconds):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response_only(200)
                self.send_header("Date", formatdate(time.time() + seconds, usegmt=True))
                self.end_headers()

        server = HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Settings(registry=f"http://127.0.0.1:{server.server_port}")

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_clocks_that_agree_are_well(told_by):
    assert clock(told_by(0)) == "within 1 s of the registry's"


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_clock_that_is_off_is_ill_with_how_much_and_what_to_do(told_by, seconds):
    with pytest.raises(Ill) as found:
        clock(told_by(seconds))
    assert f"{-seconds:+d}"[0] in found.value.finding
    assert "NTP" in found.value.remedy


@pytest.mark.parametrize(("count", "said"), [(1, "1 broker"), (3, "3 brokers")])
def test_brokers_are_counted_as_people_count(monkeypatch, count, said):
    cluster = SimpleNamespace(brokers=dict.fromkeys(range(count)))
    monkeypatch.setattr(checks, "Asked", lambda *_: SimpleNamespace(cluster=lambda _: cluster))
    assert checks.kafka(Settings(kafka="kafka:9092")) == f"kafka:9092, {said}"
