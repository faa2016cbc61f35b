import pytest

from agents.rowfile import Refused
from deploy.rules_trial import tried

RULE = """
  - {name: %s, severity: WARNING, raises: "%s", clears: "false", threshold: 1, message: "{value}"}"""


def file(*rules):
    return "domain: factory\nrules:" + "".join(RULE % rule for rule in rules)


def test_rules_that_fit_pass_their_trial():
    tried(file(("high", "value > 3"), ("low", "value < 1")))


def test_one_that_does_not_is_refused_with_its_place():
    with pytest.raises(Refused, match="no column valeu") as refused:
        tried(file(("high", "value > 3"), ("low", "valeu < 1")))
    assert refused.value.line == 4
    with pytest.raises(Refused, match="no domain"):
        tried("domain: nowhere\nrules: []")


def test_rules_that_take_more_of_the_processor_than_a_trial_may_are_refused():
    many = file(*((f"r-{number}", " AND ".join(["value > 1"] * 25)) for number in range(1_000)))
    with pytest.raises(Refused, match="cannot be checked within 0 s"):
        tried(many, cpu_seconds=0)


def test_rules_that_take_more_memory_than_a_trial_may_are_refused():
    with pytest.raises(Refused, match="cannot be checked within"):
        tried(file(("high", "value > 3")), memory_mb=0)
