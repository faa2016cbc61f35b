import warnings

import polars as pl
import pytest

from agents.factory.domain import FACTORY
from agents.row_model import Unfit
from agents.rowfile import Refused
from agents.rulebook import Row, fit, parse, stage, with_rows
from agents.rules import Severity

DOMAINS = {"factory": FACTORY}
FILE = """domain: factory
rules:
  - name: near-critical
    severity: WARNING
    raises: value > 0.9 * critical
    clears: value < 0.85 * critical
    threshold: 0.9 * critical
    cooldown_minutes: 15
    message: "{subject} of {device} is {value:.1f}"
  - name: steep
    over: trends
    severity: INFO
    raises: slope > 1
    clears: slope <= 0
    threshold: "1"
    message: rising
"""


def row(**changes):
    usual = {"name": "hot", "severity": "WARNING", "raises": "value > 9", "clears": "value < 8", "threshold": "9", "message": "hot"}
    return Row.model_validate(usual | changes)


def refused(row, domain):
    """What is wrong with a row; None if nothing is."""
    try:
        fit(row, domain)
    except Unfit as unfit:
        return str(unfit)
    return None


def problem(was, now):
    """Place and reason of the refusal of the file with a change."""
    assert was in FILE
    with pytest.raises(Refused) as refusal:
        parse(FILE.replace(was, now, 1), DOMAINS)
    return refusal.value.line, refusal.value.column, refusal.value.problem


def test_a_file_says_rules_of_a_domain():
    found = parse(FILE, DOMAINS)
    assert found.domain == "factory"
    near, steep = found.rows
    assert (near.name, near.over, near.severity, near.cooldown_minutes) == ("near-critical", "readings", Severity.WARNING, 15)
    assert (steep.over, steep.threshold, steep.retired) == ("trends", "1", False)


@pytest.mark.parametrize(
    ("was", "now", "line", "column", "reason"),
    [
        ("domain: factory", "domain: fctory", 1, 9, "no domain 'fctory': there are factory"),
        ("domain: factory", "domain: [factory", 2, 6, "expected ',' or ']'"),
        ("rules:", "ruls:", 1, 1, "a file has a domain and a list of rules"),
        ("WARNING", "FATAL", 4, 15, "severity: Input should be 'INFO', 'WARNING' or 'CRITICAL'"),
        ("value > 0.9 * critical", "value > 0.9 * critcal", 5, 27, "raises: no column critcal; there are device_id, "),
        ("value > 0.9 * critical", "value >", 5, 13, "raises: unable to parse 'value >' as Expr"),
        ("value < 0.85 * critical", "value", 6, 13, "clears: 'value' is Float64, a condition is true or false"),
        ("value < 0.85 * critical", "value < avg(value)", 6, 13, "clears: 'value < avg(value)' looks at several rows at once"),
        ("value < 0.85 * critical", "value < lag(value)", 6, 13, "clears: "),
        ("value < 0.85 * critical", "CAST(device_id AS BIGINT) > 1", 6, 13, "clears: conversion from `str` to `i64` failed"),
        ("0.9 * critical\n    cool", "device_id\n    cool", 7, 16, "threshold: 'device_id' is String, a threshold is a number"),
        ("cooldown_minutes: 15", "cooldown_minutes: -1", 8, 23, "cooldown_minutes: Input should be greater than or equal to 0"),
        ("{device}", "{device.__class__}", 9, 29, "message: {device.__class__} is not known; there are device, "),
        ("{value:.1f}", "{value:.1q}", 9, 15, "message: Unknown format code 'q'"),
        ("{value:.1f}", "{value:>3000000}", 9, 47, "message: '>3000000' is no format of a message: no field in it, and no width above 99"),
        ("{value:.1f}", "{subject:{value}}", 9, 49, "message: '{value}' is no format of a message"),
        ("{value:.1f}", "{value!r:.500}", 9, 49, "message: '.500' is no format of a message"),
        ("message: rising", "message: " + "r" * 501, 16, 14, "message: 501 characters are too many; there may be 500"),
        ("    message: rising\n", "", 10, 5, "message: is missing"),
        ("over: trends", "over: moon", 11, 11, "over: Input should be 'readings' or 'trends'"),
        ("name: steep", "name: near-critical", 10, 5, "near-critical is there twice"),
        ("name: steep", "name: Steep!", 10, 11, "name: String should match pattern"),
        ("message: rising", "mesage: rising", 16, 13, "mesage: is no field of a row; did you mean message?"),
        ("over: trends", "Over: trends", 11, 11, "Over: is no field of a row; did you mean over?"),
        ("over: trends", "1: trends", 11, 8, "1: is no field of a row; there are name, over, severity,"),
        ("cooldown_minutes: 15", "cooldown-minutes: 15", 8, 23, "cooldown-minutes: is no field of a row; did you mean cooldown_minutes?"),
        ("cooldown_minutes: 15", "cooldown_minutes: on", 8, 23, "cooldown_minutes: a number is needed; on, off, yes, no"),
        ("cooldown_minutes: 15", "cooldown_minutes: 5 min", 8, 23, "cooldown_minutes: a number is needed"),
        ("cooldown_minutes: 15", "cooldown_minutes: !!int five", 8, 23, "'five' cannot be read as a number: quote what is text"),
        ("message: rising", "message: 2026-13-45", 16, 14, "'2026-13-45' cannot be read as a time: quote what is text"),
        ("message: rising", r'message: "\ud800"', 16, 15, r"'\ud800' is no character of a text: take it out"),
        ("message: rising", r'message: "\0"', 16, 15, r"'\x00' is no character of a text: take it out"),
        ("message: rising", r'message: "\e[31m"', 16, 15, r"'\x1b' is no character of a text: take it out"),
        ("message: rising", r'"\ud800": rising', 16, 6, r"'\ud800' is no character of a text: take it out"),
        ("raises: slope > 1", "raises: slope > 1 level", 13, 13, "raises: 'slope > 1 level' has"),
        ("name: steep", "name: on", 10, 11, 'name: on is no text to YAML but true or false: quote it, "on"'),
        ("name: steep", "name: 2", 10, 11, 'name: 2 is no text to YAML but a number: quote it, "2"'),
        ("raises: slope > 1", "raises: yes", 13, 13, 'raises: yes is no text to YAML but true or false: quote it, "yes"'),
        ("message: rising", "message: 2026-11-30", 16, 14, "message: 2026-11-30 is no text to YAML but a time"),
        ("severity: INFO", "severity: INFO\n    severity: CRITICAL", 13, 5, "severity is there twice"),
        ("rules:", "domain: city\nrules:", 2, 1, "domain is there twice"),
        ("cooldown_minutes: 15", "cooldown_minutes: 1:30", 8, 23, "1:30 is another number to YAML: write a decimal one"),
        ("cooldown_minutes: 15", "cooldown_minutes: 010", 8, 23, "010 is another number to YAML: write a decimal one"),
        ('threshold: "1"', "threshold: -1:30.5", 15, 16, "-1:30.5 is another number to YAML: write a decimal one"),
        ("message: rising", "message: rising\n    hold_seconds: -1", 17, 19, "hold_seconds: Input should be greater than or equal to 0"),
        ("message: rising", "message: rising\n    escalates: level", 17, 16, "escalates: 'level' is Float64, a condition is true or false"),
        ("message: rising", "message: rising\n    escalates_to: CRITICAL", 17, 19, "escalates_to: needs a condition, escalates"),
        (
            "message: rising",
            "message: rising\n    escalates: level > 9\n    escalates_to: INFO",
            18,
            19,
            "escalates_to: INFO is not above INFO, the rule's severity",
        ),
        ("message: rising", "command: stop\n    message: rising", 16, 14, "command: trends are a minute old"),
        ("cooldown_minutes: 15", "command: Stop!", 8, 14, "command: String should match pattern"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place_and_what_is_wrong(was, now, line, column, reason):
    at_line, at_column, found = problem(was, now)
    assert found.startswith(reason)
    assert (at_line, at_column) == (line, column)


@pytest.mark.parametrize(("said", "taken"), [("550", "550"), ("5.5", "5.5"), ("-3", "-3"), ('"0.9 * critical"', "0.9 * critical")])
def test_a_threshold_may_be_a_number(said, taken):
    (*_, steep) = parse(FILE.replace('threshold: "1"', f"threshold: {said}"), DOMAINS).rows
    assert steep.threshold == taken


def test_a_file_without_rows_changes_nothing_and_is_refused():
    with pytest.raises(Refused, match="line 2, column 8: the list is empty: nothing would change"):
        parse("domain: factory\nrules: []\n", DOMAINS)


@pytest.mark.parametrize("condition", ["row = 0", "row % 2 = 0", '"row" > 100', "value > 9 AND row < 5"])
def test_a_rule_may_not_look_at_a_records_place_in_its_batch(condition):
    assert refused(row(raises=condition), FACTORY).startswith("raises: no column row")
    assert refused(row(threshold="row"), FACTORY).startswith("threshold: no column row")


def test_a_rule_may_look_at_the_columns_of_its_stage_only():
    assert {"value", "timestamp", "critical", "maximum", "subject"} <= stage(FACTORY, "readings").keys()
    assert {"level", "slope", "silent_ms", "critical", "fast"} <= stage(FACTORY, "trends").keys()
    assert refused(row(raises="slope > 1"), FACTORY).startswith("raises: no column slope")
    assert refused(row(raises="slope > 1", over="trends", clears="slope < 0"), FACTORY) is None


def test_a_null_is_neither_true_nor_a_reason_to_fail():
    rule = fit(row(raises="value > 9 AND NOT critical < 1"), FACTORY)
    assert rule.raises.meta.root_names() == ["value", "critical"]
    assert pl.DataFrame({"value": [None, 10.0], "critical": [5.0, 5.0]}).select(rule.raises).to_series().to_list() == [None, True]


def test_an_operators_rule_stands_in_the_place_of_the_codes_and_leaves_the_others():
    domain = with_rows(FACTORY, [row(name="above-critical", raises="value > 5"), row(name="stuck", over="readings")])
    builtin, trends = {rule.name for rule in FACTORY.rules}, {rule.name for rule in FACTORY.trend_rules}
    assert sorted(rule.name for rule in domain.rules) == sorted(builtin | {"stuck"})
    assert {rule.name: rule.message for rule in domain.rules}["above-critical"] == "hot"
    assert {rule.name for rule in domain.trend_rules} == trends - {"stuck"}
    assert domain.windowing == FACTORY.windowing


def test_a_rule_escalates_to_the_next_severity_or_the_one_it_names():
    rule = fit(row(severity="INFO", escalates="value > 20", hold_seconds=1.5), FACTORY)
    assert (rule.hold_ms, rule.escalation.to) == (1500, Severity.WARNING)
    assert fit(row(severity="INFO", escalates="value > 20", escalates_to="CRITICAL"), FACTORY).escalation.to == Severity.CRITICAL
    assert (
        refused(row(severity="CRITICAL", escalates="value > 20"), FACTORY)
        == "escalates: CRITICAL is not above CRITICAL, the rule's severity"
    )


def test_an_operators_rule_may_command_the_machine():
    *_, rule = with_rows(FACTORY, [row(command="slow-down")]).rules
    assert (rule.name, rule.command) == ("hot", "slow-down")


@pytest.mark.parametrize(
    "wrong",
    [{"severity": "FATAL"}, {"name": "Hot!"}, {"hold_seconds": float("nan")}, {"raises": "value > avg(value)"}, {"raises": "1+" * 9999}],
)
def test_a_record_of_the_topic_that_is_no_rule_is_unfit_and_can_be_retired(wrong):
    record = row().model_dump(mode="json") | wrong
    with pytest.raises(Unfit):
        fit(Row.of(record), FACTORY)
    if "raises" in wrong:
        assert fit(Row.of(record | {"retired": True}), FACTORY).message == "retired"


def test_a_record_of_the_topic_is_written_as_it_was_read():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Row.of(row(escalates="value > 9").model_dump(mode="json")).model_dump(mode="json")["severity"] == "WARNING"


def test_a_retired_rule_raises_nothing_and_clears_everything():
    (rule,) = (rule for rule in with_rows(FACTORY, [row(name="above-critical", retired=True)]).rules if rule.name == "above-critical")
    assert pl.select(rule.raises, clears=rule.clears).row(0) == (False, True)
