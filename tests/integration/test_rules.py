"""Operators' rules: applied by the command, in force in every worker without a restart, and never a wrong one."""

import re
from contextlib import suppress

import httpx
import pytest
from confluent_kafka import Producer

from deploy.simulate.fleet import NORMALS
from schemas.catalog import ALERTS, RULES
from tests.integration.line import PATIENCE, Worker, headrace, http, simulate, wait

CHANNELS = 20 * len(NORMALS)
RULE = """domain: factory
rules:
  - name: {name}
    severity: WARNING
    raises: {raises}
    clears: value < -1000
    threshold: "5"
    message: "{{subject}} of {{device}} is {{value:.1f}}"
"""


@pytest.fixture
def rules(kafka, tmp_path):
    """Runs `headrace rules`; a rule file's text is put in the place of `file`."""

    def run(*words, text=""):
        file = tmp_path / "rules.yaml"
        file.write_text(text)
        return headrace(kafka, "rules", *(file if word == "file" else word for word in words))

    return run


def rules_of(worker):
    """Name to row, of the rules in force; none while the worker does not answer."""
    with suppress(httpx.TransportError):
        return {rule["name"]: rule for rule in http.get(f"http://127.0.0.1:{worker.port}/rules", timeout=30).json()["rules"]}
    return {}


def until(condition, worker):
    wait(condition, worker.tail, worker=worker)


def load(kafka):
    assert simulate(kafka, "--devices", 20, "--rate", 1000, "--count", 1200, "--faults", "none").wait(timeout=PATIENCE) == 0


def alerts_of(topics, rule):
    return topics.frame(ALERTS).filter(rule=rule)["status"].to_list()


def test_a_rule_comes_changes_and_goes_in_every_worker_without_a_restart(kafka, topics, rules, tmp_path):
    with Worker(kafka, tmp_path) as first, Worker(kafka, tmp_path) as second:
        for worker in (first, second):
            until(lambda worker=worker: "above-critical" in rules_of(worker), worker)
            worker.wait_for("lane_opened")
        assert rules("apply", "file", text=RULE.format(name="alive", raises="value > -1000")) == (0, "applied to factory: alive\n")
        for worker in (first, second):
            until(lambda worker=worker: "alive" in rules_of(worker), worker)
        load(kafka)
        topics.wait_until_read(first)
        assert alerts_of(topics, "alive") == ["RAISED"] * CHANNELS
        assert rules("apply", "file", text=RULE.format(name="alive", raises="value > 100000"))[0] == 0
        for worker in (first, second):
            until(lambda worker=worker: "100000" in rules_of(worker)["alive"]["raises"], worker)
        code, table = rules("list")
        assert code == 0
        assert {"above-critical", "critical-expected", "alive"} <= set(table.split())
        assert rules("retire", "factory", "alive")[0] == 0
        for worker in (first, second):
            until(lambda worker=worker: rules_of(worker)["alive"]["retired"], worker)
        load(kafka)
        topics.wait_until_read(first)
        assert sorted(alerts_of(topics, "alive")) == ["CLEARED"] * CHANNELS + ["RAISED"] * CHANNELS


def test_a_worker_that_starts_judges_its_first_batch_by_the_rules_applied(kafka, topics, rules, tmp_path):
    load(kafka)
    assert rules("apply", "file", text=RULE.format(name="alive", raises="value > -1000"))[0] == 0
    with Worker(kafka, tmp_path) as worker:
        topics.wait_until_read(worker)
        assert worker.stop() == 0
    assert alerts_of(topics, "alive") == ["RAISED"] * CHANNELS


def test_a_wrong_rule_is_refused_with_its_place_and_the_old_one_stays(kafka, topics, rules, tmp_path):
    with Worker(kafka, tmp_path) as worker:
        assert rules("apply", "file", text=RULE.format(name="hot", raises="value > 1"))[0] == 0
        until(lambda: "hot" in rules_of(worker), worker)
        code, told = rules("apply", "file", text=RULE.format(name="hot", raises="valeu > 1"))
        assert code == 1
        assert "rules.yaml:5:13: raises: no column valeu" in told.replace("\n", "")
        for bad in (b"garbage", b"", None):
            producer = Producer({"bootstrap.servers": kafka.kafka})
            producer.produce(RULES.topic, bad, b"factory/hot")
            assert producer.flush(PATIENCE) == 0
        until(lambda: worker.log.read_text().count("rule_refused") == 3, worker)
        assert rules_of(worker)["hot"]["raises"] == "value > 1"
        load(kafka)
        topics.wait_until_read(worker)
        assert worker.stop() == 0


def test_retiring_a_rule_that_is_not_there_names_those_that_are(kafka, topics, rules):
    code, told = rules("retire", "factory", "above-critcal")
    assert code == 1
    assert "above-critical" in told


def test_a_rehearsal_says_what_would_have_been_raised_and_changes_nothing(kafka, topics, rules):
    load(kafka)
    code, told = rules("test", "file", text=RULE.format(name="alive", raises="value > -1000"))
    assert code == 0, told
    assert re.search(rf"alive +{CHANNELS} +0 +0 +0 +0 +20 +\w+ of plant", told)
    assert sum(topics.ends(ALERTS.topic).values()) == sum(topics.ends(RULES.topic).values()) == 0
    code, told = rules("test", "--minutes", "0.1", "file", text=RULE.format(name="alive", raises="value > 1000000"))
    assert re.search(r"alive +0 +0 +0 +0", told)
