"""Dashboards and alert rules against the real Prometheus, which scrapes real workers."""

import math
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import yaml

import deploy.prometheus
from deploy.embedded.preflight import free_ports
from deploy.embedded.processes import marks
from deploy.grafana.board import WORKERS
from deploy.grafana.build import build
from deploy.grafana.queries import metrics_of, narrowed
from deploy.grafana.write import BOARDS
from deploy.prometheus.package import program
from tests.integration.line import PATIENCE, Worker, simulate, wait

FOLDER = Path(deploy.prometheus.__file__).parent
FAULTS = "duplicates=0.02,disorder=0.02,late=0.01,garbage=0.02"
WORKING = ("factory", "warehouse", "gateway", "desk", "city")
# What Grafana puts in their place: all values, and a range of many scrapes.
VARIABLES = {"$worker": ".*", "$instance": ".*", "$domain": ".*", "$topic": ".*", "$__rate_interval": "1m"}


class Prometheus:
    """Prometheus with the configuration of deploy/prometheus/, but for the ports of these workers and a second between scrapes."""

    def __init__(self, folder, settings, workers):
        configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        configuration["rule_files"] = [str(FOLDER / name) for name in configuration["rule_files"]]
        (job,) = configuration["scrape_configs"]
        for target in job["static_configs"]:
            target["targets"] = [f"127.0.0.1:{workers[target['labels']['worker']].port}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        (port,) = free_ports(1)
        options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder}", f"--web.listen-address=127.0.0.1:{port}"]
        environment = settings.environment(**marks(settings.data, f"test-{port}"))
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program("prometheus"), *options], env=environment, stdout=log, stderr=log)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.process.kill()
        self.process.wait()

    def tail(self):
        return self.log.read_text()[-4000:]

    def get(self, path, **parameters):
        answer = self.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def ask(self, query):
        """Labels and value of every series that the query finds now."""
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        return [(series["metric"], float(series["value"][1])) for series in self.get("query", query=query)["result"]]

    def scrapes_all(self):
        with suppress(httpx.TransportError):
            if self.client.get("/-/ready").status_code == 200:
                return [value for _, value in self.ask("min by (worker) (headrace_ready)")] == [1] * len(WORKING)
        return False


@pytest.fixture(scope="module")
def line(stack, tmp_path_factory):
    """The workers and their Prometheus, over two hours of readings at once and then some seconds of them from devices."""
    folder = tmp_path_factory.mktemp("dashboards")
    settings = stack.settings.model_copy(update={"data": folder, "gateway_http": f"127.0.0.1:{free_ports(1)[0]}"})
    with ExitStack() as running:
        workers = {name: running.enter_context(Worker(settings, folder, module=f"streams.{name}")) for name in WORKING}
        prometheus = running.enter_context(Prometheus(folder, settings, workers))
        wait(prometheus.scrapes_all, prometheus.tail, worker=workers["factory"])
        # Wear that takes longer than forecasts look ahead, seen by a reading every ten seconds.
        hours = ("--rate", 12, "--count", 20 * 6 * 6 * 120, "--wear", 100, 200)
        for to, options in {"kafka": hours, "mqtt": ("--for", 4)}.items():
            assert simulate(settings, "--devices", 20, *options, "--faults", FAULTS, to=to).wait(timeout=PATIENCE) == 0
        yield prometheus, workers


def panels():
    """Board, title and queries of every panel, as Grafana asks them."""
    for board in BOARDS:
        for panel in build(board).panels:
            for target in getattr(panel, "targets", None) or ():
                yield f"{board.title}: {panel.title}", target.expr


def test_no_panel_is_empty(line):
    prometheus, _ = line
    queries = list(panels())
    assert {title for title, _ in queries} == {f"{board.title}: {panel.title}" for board in BOARDS for panel in board.panels}

    def empty():
        return [(title, query) for title, query in queries if not any(math.isfinite(value) for _, value in prometheus.ask(query))]

    wait(lambda: not empty(), lambda: "\n".join(map(str, empty())))


def test_every_metric_that_a_panel_or_a_rule_names_is_one_that_workers_have(line):
    prometheus, _ = line
    known = {entry["metric"].removesuffix("_total") for entry in prometheus.get("targets/metadata", match_target='{job="headrace"}')}
    rules = [rule["query"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    named = {metric.name for query in [*rules, *(query for _, query in panels())] for metric in metrics_of(query)}
    assert {name.removesuffix("_total") for name in named} <= known
    for process in ("up", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes"):
        assert len(prometheus.ask(process)) == len(WORKING), process


def test_every_rule_is_evaluated_and_none_fires_while_all_is_well(line):
    prometheus, _ = line
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    written = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    assert {rule["name"] for rule in rules} == {rule["alert"] for group in written for rule in group["rules"]}
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    for rule in rules:
        prometheus.ask(rule["query"])


def test_the_variables_of_the_dashboards_have_values(line):
    prometheus, _ = line
    for board in BOARDS:
        for variable in build(board).templating.list_val[1:]:
            series, label = variable.query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            assert prometheus.get(f"label/{label}/values", **{"match[]": series}), variable.query


def test_a_worker_that_is_gone_is_shown_as_not_ready(line):
    prometheus, workers = line
    (query,) = WORKERS.queries.values()

    def shown():
        return {labels["worker"]: value for labels, value in prometheus.ask(narrowed(query))}

    assert shown() == dict.fromkeys(WORKING, 1)
    workers["gateway"].kill()
    wait(lambda: shown() == dict.fromkeys(WORKING, 1) | {"gateway": 0}, lambda: str(shown()))
