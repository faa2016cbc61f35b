import json
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

import deploy
from deploy.grafana.build import build, to_json
from deploy.grafana.panels import above, of
from deploy.grafana.queries import metrics_of, narrowed, or_none, variables_of
from deploy.grafana.write import BOARDS, FOLDER, files
from streams.metrics import CATALOGUE

DEPLOY = Path(deploy.__file__).parent


@pytest.fixture(params=BOARDS, ids=lambda board: board.uid)
def board(request):
    return request.param


def test_the_committed_dashboards_are_those_of_the_catalogue():
    committed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert committed == files(), "run `make dashboards`"


def test_every_metric_has_a_panel():
    shown = {metric.name for board in BOARDS for panel in board.panels for query in panel.queries.values() for metric in metrics_of(query)}
    missing = {metric.name for metric in CATALOGUE} - shown
    assert not missing, f"deploy/grafana/__init__.py says how to show {missing}"


def test_every_panel_says_what_it_means(board):
    for panel in board.panels:
        metrics = [metric for query in panel.queries.values() for metric in metrics_of(query)]
        assert panel.note or metrics, panel.title
        assert all(metric.meaning in panel.description and metric.symptom in panel.description for metric in metrics)


def test_a_dashboard_is_one_of_grafanas_model(board):
    content = json.loads(to_json(board))
    again = json.loads(json.dumps(Dashboard.from_json(content), default=lambda value: value.to_json()))
    for link in (*content["links"], *again["links"]):
        del link["placement"]  # the SDK reads no other than its own
    assert again == content


def test_panels_fill_the_grid_and_do_not_overlap(board):
    places = [panel.grid_pos for panel in build(board).panels]
    assert all(place.x + place.w <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = one.x + one.w <= other.x or other.x + other.w <= one.x or one.y + one.h <= other.y or other.y + other.h <= one.y
        assert apart, (one, other)
    assert sum(place.w * place.h for place in places) == 24 * max(place.y + place.h for place in places)


def test_dashboards_link_to_each_other_and_have_a_variable_for_each_that_a_query_names(board):
    content = json.loads(to_json(board))
    assert [(link["type"], link["tags"], link["includeVars"]) for link in content["links"]] == [("dashboards", content["tags"], True)]
    variables = {variable["name"] for variable in content["templating"]["list"]}
    asked = {name for panel in content["panels"] for target in panel.get("targets", ()) for name in variables_of(target["expr"])}
    assert variables == asked | {"datasource"}


def test_rates_are_taken_over_the_interval_prometheus_scrapes_in():
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    scraping = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]


def test_a_metric_s_kind_and_unit_make_its_panel():
    lag = of("headrace_consumer_lag_records", "Lag")
    assert (lag.queries, lag.unit) == ({"{{topic}}": "sum by (topic) (headrace_consumer_lag_records)"}, units.Short)
    delay = of("headrace_watermark_delay_seconds", "Delay", by=("partition",))
    assert (delay.queries, delay.unit) == ({"{{partition}}": "max by (partition) (headrace_watermark_delay_seconds)"}, units.Seconds)
    queued = of("headrace_producer_records_total", "Queued")
    assert queued.queries == {"{{topic}}": or_none("sum by (topic) (rate(headrace_producer_records_total[$__rate_interval]))", "topic")}
    assert queued.unit == units.RecordsPerSecond
    rebalances = of("headrace_rebalances_total", "Rebalances")
    assert (rebalances.queries, rebalances.unit) == ({"": "sum(increase(headrace_rebalances_total[1h]))"}, units.Short)
    (refused,) = of("headrace_refused_rules_total", "Refused").queries.values()
    assert refused == or_none("sum by (domain) (increase(headrace_refused_rules_total[1h]))", "domain")
    checkpoint = of("headrace_checkpoint_bytes", "Size")
    quantile = "histogram_quantile(0.99, sum by (le) (rate(headrace_checkpoint_bytes_bucket[$__rate_interval])))"
    assert (checkpoint.queries["p99"], checkpoint.unit) == (f"{quantile} >= 0 or vector(0)", units.BytesIEC)


def test_a_query_is_narrowed_by_the_labels_it_leaves_open():
    assert narrowed("max(headrace_kafka_silent_seconds)") == 'max(headrace_kafka_silent_seconds{worker=~"$worker", instance=~"$instance"})'
    query = narrowed('sum by (le) (rate(headrace_batch_seconds_bucket{worker="factory"}[5m]))')
    assert query == 'sum by (le) (rate(headrace_batch_seconds_bucket{worker="factory", instance=~"$instance", domain=~"$domain"}[5m]))'
    assert variables_of(query) == ["instance", "domain"]


def test_a_metric_that_is_not_in_the_catalogue_is_refused():
    with pytest.raises(KeyError, match="headrace_made_up_records"):
        metrics_of("sum(headrace_made_up_records)")


def test_a_query_that_finds_nothing_shows_none():
    assert or_none("a > 1", "what") == 'a > 1 or label_replace(vector(0), "what", "none", "", "") unless on () a > 1'


def test_thresholds_are_green_below_the_first():
    assert above(warning=1) == ((None, "green"), (1, "orange"))
    assert above(critical=5) == ((None, "green"), (5, "red"))
