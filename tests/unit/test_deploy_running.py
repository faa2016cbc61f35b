import json
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from deploy import running as module
from deploy.checks import Idle, Ill, workers
from deploy.cli import app
from deploy.embedded import commands
from deploy.embedded.preflight import free_ports
from deploy.running import running
from streams.settings import Settings

READY = {"ready": True, "checks": {"lag": {"ok": True, "detail": {"records": {"a/0": 3, "a/1": None, "b/0": 4}}}}}
UNREADY = {"ready": False, "checks": {"kafka": {"ok": False, "detail": {}}, "lag": {"ok": True, "detail": "reads nothing"}}}


@contextmanager
def worker(body, name="factory", kafka="127.0.0.1:1"):
    """A process with a worker's command line, and what answers in its place."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if body.get("ready") else 503)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        words = ["-A", f"streams.{name}", "worker", f"--web-port={server.server_port}"]
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words], env={"HEADRACE_KAFKA": kafka})
        try:
            yield process, f"http://127.0.0.1:{server.server_port}"
        finally:
            process.kill()
            process.wait()
            server.shutdown()


@pytest.fixture
def ours(monkeypatch):
    monkeypatch.setattr(module, "PORTS", dict.fromkeys(module.PORTS, 1))  # nothing answers there
    return Settings(kafka="127.0.0.1:1")


def test_a_worker_is_found_by_its_process_and_tells_its_state_and_lag(ours):
    with worker(READY) as (process, url):
        (found,) = running(ours)
    assert found == ("factory", process.pid, url, "ready", 7)


def test_two_workers_of_a_kind_are_told_one_by_one(ours, monkeypatch):
    with worker(READY) as (_, first), worker(READY) as (_, second):
        monkeypatch.setattr(
            module, "_processes", lambda: iter([(1, ["-A", "streams.factory", "worker", "--web-port", first.rpartition(":")[2]], "")])
        )
        monkeypatch.setitem(module.PORTS, "factory", int(second.rpartition(":")[2]))
        assert sorted(each.url for each in running(ours)) == sorted([first, second])
        assert {each.pid for each in running(ours)} == {1, None}


def test_a_worker_that_is_not_ready_says_what_is_not(ours):
    with worker(UNREADY, "desk") as (_, url):
        assert [(each.name, each.state, each.lag) for each in running(ours)] == [("desk", "not ready: kafka", None)]
        with pytest.raises(Ill, match="desk not ready: kafka") as ill:
            workers(ours)
    assert ill.value.remedy == f"{url}/ready says more"


def test_status_shows_each_worker_with_its_state_and_what_it_has_to_read(ours, monkeypatch, tmp_path):
    kafka, registry, mqtt = free_ports(3)
    here = ours.model_copy(
        update={
            "data": tmp_path,
            "kafka": f"127.0.0.1:{kafka}",
            "registry": f"http://127.0.0.1:{registry}",
            "mqtt": f"mqtt://127.0.0.1:{mqtt}",
        }
    )
    monkeypatch.setattr(commands, "settings", lambda: here)
    with worker(READY, kafka=here.kafka) as (process, url), worker(UNREADY, "desk", kafka=here.kafka):
        said = CliRunner().invoke(app, ["status"], env={"COLUMNS": "200"}).output.splitlines()
    (factory,) = (line.split() for line in said if line.startswith("factory"))
    assert factory == ["factory", "ready", url, str(process.pid), "7"]
    assert any(line.startswith("desk") and "not ready: kafka" in line for line in said)


def test_status_exits_with_0_only_if_every_worker_is_ready(ours, monkeypatch):
    monkeypatch.setattr(commands, "settings", lambda: ours)
    monkeypatch.setattr(commands, "LocalStack", lambda _: SimpleNamespace(services=()))
    monkeypatch.setattr(commands, "_services", lambda _: [])
    for says, code in ((READY, 0), (UNREADY, 1)):
        with worker(says):
            assert CliRunner().invoke(app, ["status", "--json"]).exit_code == code


def test_what_answers_something_else_is_told_and_workers_of_another_kafka_are_not_ours(ours):
    with worker({"error": "a token is needed"}), worker(READY, "city", kafka="elsewhere:9092"):
        assert [(each.name, each.state) for each in running(ours)] == [("factory", "does not say: status 503")]


def test_without_workers_doctor_says_how_to_start_one_and_nothing_is_wrong(ours):
    with pytest.raises(Idle, match="none runs") as idle:
        workers(ours)
    assert "faust -A streams.factory worker" in idle.value.remedy
