"""The rules of the architecture that a machine can check."""

import ast
import re
from pathlib import Path
from statistics import median

import pytest

from schemas.catalog import CONTRACTS
from streams.metrics import CATALOGUE

ROOT = Path(__file__).parents[1]
# Each may import itself and those before it.
DIRECTION = ("schemas", "tables", "agents", "streams", "deploy")
PURE = ("schemas", "tables", "agents")
CLOCKS = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "localtime", "gmtime", "ctime", "strftime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}

SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for package in (*DIRECTION, "bench")
    for path in (ROOT / package).rglob("*.py")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}
TARGETS = [name for name, source in SOURCES.items() if re.search(r"^app = App\(", source, re.MULTILINE)]


def package_of(name):
    return name.partition("/")[0]


def imports(tree):
    """Every module that is imported anywhere in a file, functions and type checking included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def attributes(tree):
    """Every `name.attribute` of a file, as a pair; of a longer path its last two names. `from time import time` is one, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            yield node.value.id if isinstance(node.value, ast.Name) else node.value.attr, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("name", [name for name in SOURCES if package_of(name) in DIRECTION])
def test_imports_point_one_way(name):
    ours = {module.partition(".")[0] for module in imports(TREES[name])} & {*DIRECTION, "bench", "tests"}
    assert ours <= set(DIRECTION[: DIRECTION.index(package_of(name)) + 1])


def test_faust_is_imported_only_under_streams():
    faust = {name for name, tree in TREES.items() if any(module.partition(".")[0] == "faust" for module in imports(tree))}
    assert {name for name in faust if package_of(name) != "streams"} <= {"bench/stock_faust.py"}


def kafka_clients(tree):
    """Every call that makes a client of librdkafka's."""
    kinds = {"Producer", "Consumer", "AdminClient", "SerializingProducer", "DeserializingConsumer"}
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "confluent_kafka"
        for alias in node.names
        if alias.name in kinds
    }
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names)


def test_every_client_of_kafka_has_its_options_from_one_place_and_writes_no_lines_of_its_own():
    loud = [
        f"{name}:{client.lineno}"
        for name, tree in TREES.items()
        if package_of(name) in DIRECTION
        for client in kafka_clients(tree)
        if not any(isinstance(node, ast.Name) and node.id == "quiet" for node in ast.walk(client))
    ]
    assert loud == []
    modules = {module for name, tree in TREES.items() if package_of(name) in DIRECTION for module in imports(tree)}
    assert "confluent_kafka.aio" not in modules  # its clients would not be seen here


def test_the_environment_is_read_only_by_the_settings():
    reading = {name for name, tree in TREES.items() if {("os", "environ"), ("os", "getenv")} & set(attributes(tree))}
    assert reading == {"streams/settings.py"}


@pytest.mark.parametrize("name", [name for name in SOURCES if package_of(name) in PURE])
def test_what_a_record_means_does_not_depend_on_the_clock(name):
    assert not {(of, what) for of, what in attributes(TREES[name]) if what in CLOCKS.get(of, ())}


def test_modules_are_small():
    lines = {name: source.count("\n") for name, source in SOURCES.items() if Path(name).name != "__init__.py"}
    assert {name: count for name, count in lines.items() if count > 300} == {}
    assert median(lines.values()) <= 90


@pytest.mark.parametrize("name", TARGETS)
def test_a_worker_is_put_together_in_a_few_lines(name):
    assert package_of(name) == "streams"
    assert SOURCES[name].count("\n") <= 50


def test_any_exception_is_caught_in_one_place_only_the_guard():
    caught = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or "Exception" in {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)})
    ]
    assert caught == ["agents/guard.py"]


def test_the_guard_is_used_where_a_record_of_others_or_a_rule_of_others_may_not_stop_a_worker():
    guarding = {name for name, tree in TREES.items() if "agents.guard" in set(imports(tree))}
    assert guarding == {
        "streams/ingest.py",  # factories' messages over MQTT: the broker would send one again after every start
        "streams/refining.py",  # devices' messages from Kafka: the offset would never be committed
        "streams/rounds.py",  # every other message of a device, whatever it came by
        "agents/watch.py",  # which rule it is
        "streams/watching.py",  # rules
    }


def test_every_contract_has_its_schema_file_and_every_schema_file_its_contract():
    assert {path.stem for path in (ROOT / "schemas" / "avro").glob("*.avsc")} == {row.schema or row.topic for row in CONTRACTS.values()}


def test_every_metric_is_in_the_catalogue_with_its_meaning_and_is_sampled():
    samplers = [tree for name, tree in TREES.items() if package_of(name) == "streams" and name != "streams/metrics.py"]
    sampled = {node.value for tree in samplers for node in ast.walk(tree) if is_metric(node)}
    # a histogram is fed by a method of its own
    assert {metric.name for metric in CATALOGUE if metric.kind != "histogram"} <= sampled <= {metric.name for metric in CATALOGUE}
    assert all(metric.meaning and metric.symptom for metric in CATALOGUE)


def is_metric(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"headrace_[a-z_]+", node.value) is not None


@pytest.mark.parametrize("name", [name for name in TREES if package_of(name) in DIRECTION])
def test_a_file_is_read_and_written_in_a_named_encoding_not_the_machines(name):
    calls = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    unnamed = [
        call.lineno
        for call in calls
        if call.func.attr in ("read_text", "write_text") and not any(word.arg == "encoding" for word in call.keywords)
    ]
    assert not unnamed, f"{name}: lines {unnamed}"
