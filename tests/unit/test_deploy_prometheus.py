import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import deploy.prometheus
from deploy.embedded.errors import StackError
from deploy.embedded.preflight import free_ports, is_free
from deploy.grafana.queries import metrics_of
from deploy.prometheus.package import program
from streams.settings import Settings

FOLDER = Path(deploy.prometheus.__file__).parent
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
CASES = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]


def promtool(*words):
    done = subprocess.run([program("promtool"), *words], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_the_configuration_and_the_rules():
    code, told = promtool("check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    assert code == 0, told


def test_each_rule_fires_when_it_should_and_not_when_it_should_not():
    code, told = promtool("test", "rules", "alerts_test.yml")
    assert code == 0, told


def test_each_rule_has_a_case():
    assert {case["name"] for case in CASES} == {rule["alert"] for rule in RULES}
    for case in CASES:
        expected = [sample["labels"] for test in case["promql_expr_test"] for sample in test["exp_samples"]]
        assert expected
        assert all(f'alertname="{case["name"]}"' in labels for labels in expected), case["name"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_metrics_of_the_catalogue_and_says_what_to_do(rule):
    assert metrics_of(rule["expr"]) or {"up", "process_start_time_seconds"} & set(rule["expr"].replace("(", "{").split("{"))
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert len(rule["annotations"]["description"]) > 100


def test_without_prometheus_and_without_apt_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JGO_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(StackError, match="Install Prometheus so that"):
        program("promtool")


def test_a_prometheus_of_the_machine_goes_first(tmp_path, monkeypatch):
    ours = tmp_path / "promtool"
    ours.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program("promtool") == ours


def prometheus(port, data):
    command = [sys.executable, "-m", "deploy.cli", "prometheus", "--port", str(port)]
    return subprocess.Popen(command, env=Settings(data=data).environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_taken_port_is_said_with_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server, prometheus(server.getsockname()[1], tmp_path) as refused:
        said = refused.stdout.read()
    assert "is taken by" in said
    assert "--port" in said
    assert refused.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_it_says_that_it_answers_when_it_does_and_ends_with_its_terminal(tmp_path, number):
    (port,) = free_ports(1)
    with prometheus(port, tmp_path) as running:
        assert f"answers on http://127.0.0.1:{port}" in running.stdout.readline()
        assert not is_free("127.0.0.1", port)
        running.send_signal(number)
        running.wait(60)
    assert is_free("127.0.0.1", port)
