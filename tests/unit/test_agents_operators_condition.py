import polars as pl
import pytest

from agents.city.domain import CITY
from agents.factory.domain import FACTORY
from agents.operators.condition import text

VALUE, CRITICAL = pl.col("value"), pl.col("critical")


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (VALUE > CRITICAL, "value > critical"),
        ((pl.col("sensor_type") == "voltage") & (VALUE < 200), '(sensor_type == "voltage") & (value < 200)'),
        (VALUE > -0.5, "value > -0.5"),
        (VALUE.is_between(5, 9), "value.is_between(5, 9)"),
        (VALUE.abs() > 2, "(value.abs()) > 2"),
        (((VALUE > 1) & (VALUE < 3)) | (VALUE == 7), "((value > 1) & (value < 3)) | (value == 7)"),
    ],
)
def test_a_condition_is_told_as_people_write_it(condition, told):
    assert text(condition) == told


@pytest.mark.parametrize("domain", [FACTORY, CITY], ids=["factory", "city"])
def test_no_rule_of_the_code_is_told_with_types_of_polars_or_open_brackets(domain):
    for rule in (*domain.rules, *domain.trend_rules):
        told = text(rule.raises)
        assert "dyn " not in told
        assert "col(" not in told
        assert "\n" not in told
        assert all(told.count(left) == told.count(right) for left, right in ("()", "[]"))
