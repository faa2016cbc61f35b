"""A demo's worker answers on a port of its own, whoever is on the usual one."""

import socket
import sys
from contextlib import closing

import pytest

from deploy.demo.workers import Worker
from deploy.embedded import preflight
from deploy.embedded.errors import StackError
from streams.settings import Settings

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer.allow_reuse_address = False
HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


class Server(Worker):
    def command(self):
        return [sys.executable, "-c", SERVER, str(self.port)]


@pytest.fixture
def worker(tmp_path):
    server = Server(Settings(data=tmp_path), "factory")
    yield server
    server.stop(1)


def test_a_worker_whose_port_somebody_took_meanwhile_comes_up_on_another(worker):
    worker.port = preflight.free_ports(1)[0]
    with closing(socket.create_server(("127.0.0.1", worker.port))) as other:
        worker.start()
        worker.wait()
        assert worker.port != other.getsockname()[1]
        assert worker.answers()


def test_what_answers_on_the_port_of_a_worker_that_is_gone_is_not_taken_for_it(worker, tmp_path):
    worker.port = preflight.free_ports(1)[0]
    worker.start()
    worker.wait()
    silent = Server(Settings(data=tmp_path / "silent"), "factory")
    silent.port = worker.port
    assert worker.answers()
    assert not silent.answers()


def test_a_worker_that_ends_for_another_reason_is_not_started_again(worker):
    worker.command = lambda: [sys.executable, "-c", "raise SystemExit(3)"]
    worker.start()
    with pytest.raises(StackError, match="exit code 3"):
        worker.wait()
