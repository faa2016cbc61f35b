import re

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics import CATALOGUE, Metrics, Sample

UNITS = {
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
    "rules",
}


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())}


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
    assert {label for metric in CATALOGUE for label in metric.labels} <= {"domain", "partition", "outcome", "topic", "check", "what"}


def test_names_are_unique():
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


def test_a_worker_that_does_nothing_shows_every_metric_with_its_kind_and_help():
    shown = families(Metrics())
    for metric in CATALOGUE:
        assert (shown[base(metric)].type, shown[base(metric)].documentation) == (metric.kind, metric.help)


def test_the_process_itself_is_measured():
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "python_gc_collections"} <= families(Metrics()).keys()


def test_sources_are_asked_at_every_reading():
    metrics, readings = Metrics(), iter([1, 5])
    metrics.sources.append(lambda: [Sample("headrace_rebalances_total", (), next(readings))])
    values = [families(metrics)["headrace_rebalances"].samples[0].value for _ in range(2)]
    assert values == [1, 5]


def test_several_sources_share_a_family():
    metrics = Metrics()
    for domain in ("factory", "city"):
        metrics.sources.append(lambda domain=domain: [Sample("headrace_fence_offset", (domain, "0"), 7)])
    samples = families(metrics)["headrace_fence_offset"].samples
    assert [sample.labels for sample in samples] == [{"domain": "factory", "partition": "0"}, {"domain": "city", "partition": "0"}]


def test_a_batch_and_a_checkpoint_are_counted_in_their_histograms():
    metrics = Metrics()
    metrics.batch("factory", 400, 0.003)
    metrics.checkpoint("factory", 2_000, 0.04)
    shown = families(metrics)
    sums = {s.name: s.value for family in shown.values() for s in family.samples if re.fullmatch(r"headrace_\w+_sum", s.name)}
    assert sums == {
        "headrace_batch_records_sum": 400,
        "headrace_batch_seconds_sum": 0.003,
        "headrace_checkpoint_bytes_sum": 2_000,
        "headrace_checkpoint_seconds_sum": 0.04,
    }


def test_what_is_shown_is_openmetrics_too():
    metrics = Metrics()
    metrics.sources.append(lambda: [Sample("headrace_ledger_records_total", ("factory", "0", "rejected/not-finite"), 3)])
    (family,) = (f for f in parse_openmetrics(generate_openmetrics(metrics.registry).decode()) if f.name == "headrace_ledger_records")
    assert (family.samples[0].labels["outcome"], family.samples[0].value) == ("rejected/not-finite", 3)


def test_workers_of_one_process_are_measured_apart():
    first, second = Metrics(), Metrics()
    first.batch("factory", 1, 0.001)
    assert not families(second)["headrace_batch_records"].samples
