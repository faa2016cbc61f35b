import re

import pytest

from streams.metrics import CATALOGUE

UNITS = {
    "sensors",
    "records",
    "batches",
    "messages",
    "seconds",
    "bytes",
    "offset",
    "episodes",
    "panes",
    "rows",
    "rebalances",
    "failures",
    "ready",
    "forecasts",
    "commands",
    "rules",
    "alerts",
    "devices",
    "logins",
    "credentials",
    "nodes",
    "rebirths",
}


def base(metric):
    return metric.name.removesuffix("_total")


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_is_named_by_noun_and_unit_and_says_what_it_means_and_hints_at(metric):
    assert re.fullmatch(r"headrace(_[a-z]+)+", metric.name)
    assert base(metric).rpartition("_")[2] in UNITS
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert metric.meaning.endswith(".")
    assert metric.symptom.endswith(".")


def test_labels_are_of_bounded_sets():
    assert {label for metric in CATALOGUE for label in metric.labels} <= {
        "domain",
        "partition",
        "outcome",
        "topic",
        "check",
        "what",
        "rule",
        "state",
        "severity",
        "tenant",
        "status",
        "kind",
        "protocol",
        "reason",
    }


def test_names_are_unique():
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
