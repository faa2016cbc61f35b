"""What becomes of a rule that raises an exception in a running watch."""

import asyncio
from dataclasses import replace

import polars as pl
import pytest
from faust.types import TP

from agents.factory.domain import FACTORY
from agents.reading import Domain
from schemas.catalog import READINGS, WINDOWS
from streams.watching import Watching
from tests.fakes.stream import Kafka, Member

TP0 = TP(READINGS.topic, 0)


def crash(_):
    raise ZeroDivisionError


def crashing(name):
    raises = pl.col("value").map_elements(crash, return_dtype=pl.Boolean, skip_nulls=False)
    return replace(FACTORY.rules[0], name=name, raises=raises)


@pytest.fixture
def watching():
    """One that switched its rule `broken` off."""

    async def made():
        watching = Watching(Member(Kafka({TP0: []}), known={}, name="factory"), FACTORY, WINDOWS, "readings-1m")
        watching.adopt(domain())
        watching._switch_off({"broken": ZeroDivisionError()})
        return watching

    return asyncio.run(made())


BROKEN = crashing("broken")


def domain(*others, broken=BROKEN) -> Domain:
    return replace(FACTORY, rules=[broken, *FACTORY.rules, *others])


def names(watching):
    return [rule.name for rule in watching.domain.rules]


def test_a_rule_that_raised_is_off_and_counted(watching):
    assert "broken" not in names(watching)
    assert watching.switched_off == {"broken": 1}


def test_it_stays_off_when_another_rule_or_a_sensor_type_is_applied(watching):
    watching.adopt(domain(crashing("another")))
    assert names(watching) == [*(rule.name for rule in FACTORY.rules), "another"]
    watching.adopt(replace(domain(), limits=FACTORY.limits))
    assert "broken" not in names(watching)


def test_it_judges_again_once_it_is_applied_anew_as_it_was_or_better(watching):
    watching.adopt(domain(broken=crashing("broken")))
    assert names(watching)[0] == "broken"
    watching._switch_off({"broken": ZeroDivisionError()})
    watching.adopt(domain(crashing("another"), broken=replace(BROKEN, raises=pl.lit(value=False))))
    assert names(watching)[0] == "broken"


def test_two_rules_that_raise_one_after_the_other_are_both_off(watching):
    also = crashing("also")
    watching.adopt(domain(also))
    watching._switch_off({"also": ZeroDivisionError()})
    watching.adopt(domain(also))
    assert names(watching) == [rule.name for rule in FACTORY.rules]
