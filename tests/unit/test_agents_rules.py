import polars as pl
import pytest

from agents.rules import Rule, Severity, evaluate


def rule(name: str, raises: pl.Expr, clears: pl.Expr) -> Rule:
    return Rule(
        name=name, severity=Severity.WARNING, raises=raises, clears=clears, threshold=pl.lit(1.0), cooldown_ms=0, message="{subject}"
    )


HOT, COLD = rule("hot", pl.col("value") > 10, pl.col("value") < 8), rule("cold", pl.col("value") < 0, pl.col("value") > 2)


def test_each_rule_gives_columns_of_the_frames_height():
    conditions = evaluate([HOT, COLD], pl.DataFrame({"value": [-1.0, 5.0, 11.0]}))
    assert conditions.to_dict(as_series=False) == {
        "hot/raises": [False, False, True],
        "hot/clears": [True, True, False],
        "hot/threshold": [1.0, 1.0, 1.0],
        "cold/raises": [True, False, False],
        "cold/clears": [False, True, True],
        "cold/threshold": [1.0, 1.0, 1.0],
    }


def test_conditions_on_null_are_false():
    conditions = evaluate([HOT], pl.DataFrame({"value": [None]}, schema={"value": pl.Float64}))
    assert conditions.select("hot/raises", "hot/clears").rows() == [(False, False)]


@pytest.mark.parametrize("height", [0, 3])
def test_no_rules_give_no_conditions(height):
    assert evaluate([], pl.DataFrame({"value": [1.0] * height})).width == 0


def test_an_empty_frame_gives_empty_conditions():
    conditions = evaluate([HOT], pl.DataFrame(schema={"value": pl.Float64}))
    assert conditions.schema == {"hot/raises": pl.Boolean, "hot/clears": pl.Boolean, "hot/threshold": pl.Float64}
    assert conditions.is_empty()


def test_a_rule_over_a_column_the_domain_does_not_prepare_is_an_error():
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="speed_kmh"):
        evaluate([rule("speeding", pl.col("speed_kmh") > 50, pl.col("speed_kmh") < 40)], pl.DataFrame({"value": [1.0]}))
