import re

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from streams.exposition import Metrics, Sample
from streams.metrics import CATALOGUE


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())}


def test_a_worker_that_does_nothing_shows_every_metric_with_its_kind_and_help():
    shown = families(Metrics())
    for metric in CATALOGUE:
        family = shown[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)


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
