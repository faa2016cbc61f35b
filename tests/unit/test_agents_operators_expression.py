import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.factory.domain import FACTORY
from agents.operators.expression import MOST_STEPS, expression
from agents.operators.tokens import MOST_CHARACTERS, MOST_DEPTH, MOST_REPEATED
from agents.row_model import Unfit
from agents.rulebook import stage

COLUMNS = stage(FACTORY, "readings")


def refusal(text):
    """Why a text is refused; None if it is not."""
    try:
        expression("raises", text, COLUMNS)
    except Unfit as unfit:
        return str(unfit)
    return None


@pytest.mark.parametrize(
    "text",
    [
        "value > avg(value)",
        "value > sum(value)",
        "value > 2 * min(critical)",
        "value > max(value) - 1",
        "count(*) > 3",
        "count(value) > 3",
        "count(distinct device_id) > 1",
        "value > first(value)",
        "value > last(value)",
        "value > first_value(value)",
        "stddev(value) > 1",
        "variance(value) > 1",
        "value > median(value)",
        "value > quantile_cont(value, 0.9)",
        "value > quantile_disc(value, 0.9)",
        "corr(value, critical) > 0.5",
        "covar(value, critical) > 0.5",
        "row_number() OVER () > 1",
        "rank() OVER (ORDER BY value) > 1",
        "dense_rank() OVER (ORDER BY value) > 1",
        "value > lag(value) OVER (ORDER BY timestamp)",
        "value > lead(value) OVER (ORDER BY timestamp)",
        "value > sum(value) OVER (PARTITION BY device_id)",
        "UNNEST(STRING_TO_ARRAY(device_id, '')) = 'q'",
        "EXISTS (SELECT 1)",
        "CASE WHEN avg(value) > 1 THEN value > 2 ELSE value > 3 END",
        "abs(value - avg(value)) > 3",
        "value > 0 AND NOT (value < COALESCE(max(value), 0))",
        "COLUMNS('val.*') > 1",
        "value = ANY(critical)",
        "value <> ANY(critical)",
        "value = SOME(value)",
        "device_id = ANY(plant)",
        "value > ANY(critical)",
        "value < ALL(critical)",
        "abs(value) = ANY(critical)",
    ],
)
def test_whatever_looks_at_other_rows_is_refused(text):
    assert "looks at several rows at once" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "value > 0.9 * critical AND device_id LIKE 'plant-1.%'",
        "value BETWEEN minimum AND maximum AND sensor_type IN ('temperature', 'vibration')",
        "CASE sensor_type WHEN 'temperature' THEN value > 80 ELSE value > critical END",
        "abs(value - critical) / nullif(critical, 0) < 0.1",
        "device_id ~ '^plant-[12]' OR device_id ILIKE '%PRESS%' OR NOT starts_with(device_id, 'x')",
        "greatest(value, critical) > 3 AND least(value, critical) < 9 AND round(value, 1) > 2 AND value % 2 > 0",
        "split_part(device_id, '.', 1) = 'plant-1' AND length(upper(device_id)) > 3 AND left(device_id, 5) = right(device_id, 5)",
        "sqrt(pow(value, 2)) > ln(critical) AND floor(value) < ceil(value) AND sign(value) > 0 AND exp(value) > sin(value)",
        "EXTRACT(hour FROM CAST(timestamp * 1000 AS TIMESTAMP)) > 6",
        "value IS NOT NULL AND coalesce(plant, '') <> 'plant-9' AND device_id || plant <> 'a'",
        "value IN (critical, minimum, 5) AND device_id NOT IN ('a', plant) AND value IN (1, 2.5)",
        "true",
    ],
)
def test_what_one_row_tells_fits(text):
    assert refusal(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("REPLACE(device_id, 'a', '" + "b" * 100 + "') = 'b'", "makes text anew (Replace)"),
        ("LPAD(device_id, 100000000) = 'b'", "makes text anew (PadStart)"),
        ("RPAD(device_id, 100000000) = 'b'", "makes text anew (PadEnd)"),
        ("value > 0 AND " * 40 + "value > 1", f"too many; there may be {MOST_STEPS}"),
        ("value > 0 AND " * 20_000 + "value > 1", f"characters are too many; there may be {MOST_CHARACTERS}"),
        ("1" + "+1" * 450, ""),
        ("device_id = '\ud800'", "half a character"),
        ("NOT " * 200 + "true", ""),
        ("(" * 400 + "1" + ")" * 400, "nested too deep"),
        # as short texts, that take Polars minutes or for ever
        ("CAST(" * 70 + "1" + " AS INT)" * 70, "nested too deep"),
        ("ARRAY[" * 60, "nested too deep"),
        ("POSITION(" * 20 + "1", "nested too deep"),
        ("value" + " BETWEEN 1 AND 2" * 40, f"{MOST_REPEATED} of BETWEEN and CASE"),
        ("value > 1 AND ')))))))))' <> '' AND " + "(" * (MOST_DEPTH + 1), "nested too deep"),
        ("value > 1 -- '\n AND " + "(" * 50 + "'", "no comments"),
        ("value > 1 /* ' */ AND " + "(" * 50 + "'", "no comments"),
        ("device_id = E'\\'' AND " + "(" * 50 + "'", "a blank before a text"),
        ("$$'$$ = '" + "(" * 50 + "'", "no comments or variables"),
        ("device_id ~ '(a{1000}){1000}'", "regex"),
        ("NOW() > 1", "has a fixed time in it"),
        ("CURRENT_DATE > 1", "has a fixed time in it"),
        ("CAST(device_id AS BIGINT) > 1", "conversion from `str`"),
        ("value > critcal", "no column critcal; there are device_id"),
    ],
)
def test_what_could_stop_or_slow_a_worker_is_refused(text, reason):
    assert reason in refusal(text)


WORDS = "value critical device_id 1 0.5 'a' ( ) , + - * / % || AND OR NOT IN LIKE BETWEEN IS NULL CASE WHEN THEN END CAST AS BIGINT"
CALLS = "avg sum max abs lower split_part concat replace lpad unnest array_agg count coalesce :: [ ] { } ; -- /* $1 ? @ \x00 \ud800 Ω"


@given(st.lists(st.sampled_from([*WORDS.split(), *CALLS.split()]), max_size=12).map(" ".join) | st.text(max_size=40))
def test_any_text_is_an_expression_or_unfit(text):
    refusal(text)


OPENERS = ("CAST(", "POSITION(", "ARRAY[", "NOT (", "SUBSTRING(", "CASE WHEN ", "(", "f(", "value BETWEEN ", "OVERLAY(", "value IN (", "-")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([*OPENERS, "1", ")", " AND 2", " END", " AS INT)"]), min_size=10, max_size=120).map("".join))
def test_texts_that_are_nested_or_repeat_end_in_an_answer(text):
    refusal(text)


@pytest.mark.parametrize("text", ["regexp_like(device_id, plant)", "device_id RLIKE sensor_type"])
def test_what_devices_are_called_is_no_pattern(text):
    """One of them could be called [ and end the rule."""
    assert refusal(text).startswith("raises: regex error")


@pytest.mark.parametrize("text", ["device_id SIMILAR TO 'x'", "device_id COLLATE x = 'a'", "overlay(device_id PLACING 'x' FROM 1) = 'x'"])
def test_a_reason_is_short(text):
    assert len(refusal(text)) < 250
