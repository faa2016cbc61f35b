"""SQL of an operator as an expression of Polars: one that looks at one row at a time, and costs little whatever the row holds."""

import json
from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from agents.operators.tokens import bounded
from agents.row_model import Unfit
from schemas.quoting import brief

MOST_STEPS: Final = 100
"""Columns, constants and functions of an expression: each is evaluated for each batch, which takes some ms for so many."""
MOST_REASON: Final = 200
"""Characters of what Polars says is wrong; it may quote all that it parsed."""
_STEPS: Final = """
BinaryExpr Cast Column Literal Ternary
Abs Atan2 Ceil Coalesce Exp FillNull Floor Log Log1p MaxHorizontal MinHorizontal Sign Truncate.decimals
Bitwise.CountOnes Pow.Cbrt Pow.Generic Pow.Sqrt Sql.Binary Sql.IsIn Sql.Round Sql.ToFloat
Boolean.IsFinite Boolean.IsIn Boolean.IsInfinite Boolean.IsNan Boolean.IsNotNan Boolean.IsNotNull Boolean.IsNull Boolean.Not
Trigonometry.ArcCos Trigonometry.ArcSin Trigonometry.ArcTan Trigonometry.Cos Trigonometry.Cot Trigonometry.Degrees Trigonometry.Radians
Trigonometry.Sin Trigonometry.Tan
StringExpr.ConcatHorizontal StringExpr.Contains StringExpr.EndsWith StringExpr.Find StringExpr.LenBytes StringExpr.LenChars
StringExpr.Lowercase StringExpr.Reverse StringExpr.Slice StringExpr.StartsWith StringExpr.StripChars StringExpr.StripCharsEnd
StringExpr.StripCharsStart StringExpr.Titlecase StringExpr.Uppercase StringExpr.Split ListExpr.Get
TemporalExpr.Day TemporalExpr.Hour TemporalExpr.Minute TemporalExpr.Month TemporalExpr.Second TemporalExpr.WeekDay TemporalExpr.Year
"""
STEPS: Final = frozenset(_STEPS.split())
"""What an expression may consist of: of one row alone, and it gives no more than it takes. Names as Polars serializes them."""
_IS_IN: Final = {"Sql.IsIn", "Boolean.IsIn"}
"""Whether a value is one of a set: of constants alone, as `= ANY(column)` has the values of all rows."""
_TIMES: Final = ("Date", "Datetime", "Duration", "Time")
_GROWING: Final = {"StringExpr.PadEnd", "StringExpr.PadStart", "StringExpr.Replace", "StringExpr.ZFill", "TemporalExpr.ToString"}

_LONG: Final = "a.b-c/d " * 64
_SAMPLES: Final[dict[Any, tuple[list[Any], list[Any]]]] = {
    pl.Float64: ([0.0, 1.5, -1e300, float("nan"), None], [1.0, -2.5, 40.0, 40.0, 1e6]),
    pl.Int64: ([0, 1, -(2**62), 2**62, None], [1_790_000_000_000, 1_790_000_060_000, 7, 7, -3]),
    pl.String: (["", "a", "Ω[(", "0", None], ["plant-1.press-0001", _LONG, "q" * 512, "Ωé😀" * 100, "a" * 3]),
}
"""Hard values of a type, some no regular expression, and usual ones, all of them finite: a NaN hides what a mean of them would do."""
_MANY: Final = 200
"""How often the usual rows are repeated for a frame of a thousand."""


def expression(field: str, text: str, schema: pl.Schema) -> tuple[pl.Expr, pl.DataType]:
    """The expression that a text is over the columns of `schema`, and the type it has. Raises Unfit."""
    bounded(field, text)
    try:
        found = pl.sql_expr(text)
        _refuse_others(field, text, found)
        hard, usual = (_rows(schema, kind) for kind in (0, 1))
        if any(not _whole(found, rows).equals(_alone(found, rows)) for rows in (hard, usual)):
            raise _several(field, text)
        many = _whole(found, pl.concat([usual] * _MANY))
    except RecursionError as error:
        raise Unfit(field, "is nested too deep") from error
    except UnicodeEncodeError as error:
        raise Unfit(field, f"has half a character, {text[error.start]!r}", error.start) from error
    except pl.exceptions.ColumnNotFoundError as error:
        name = str(error).split('"')[1]
        raise Unfit(field, f"no column {name}; there are {', '.join(schema)}", max(text.find(name), 0)) from error
    except pl.exceptions.PolarsError as error:
        raise Unfit(field, brief(" ".join(str(error).split()), MOST_REASON)) from error
    return found, many.dtype


def _several(field: str, text: str) -> Unfit:
    return Unfit(field, f"{text!r} looks at several rows at once; a rule looks at one")


def _refuse_others(field: str, text: str, found: pl.Expr) -> None:
    """Raise Unfit for a step that rules may not take, or too many of them."""
    steps = list(_steps(json.loads(found.meta.serialize(format="json"))))
    if len(steps) > MOST_STEPS:
        raise Unfit(field, f"{len(steps)} columns, constants and functions are too many; there may be {MOST_STEPS}")
    for step in steps:
        if step.startswith("Alias."):
            raise Unfit(field, f"{text!r} has words side by side with nothing between them, such as AND or a comparison")
        if step in _TIMES:
            raise Unfit(field, f"{text!r} has a fixed time in it, as of now; compare columns such as timestamp, in milliseconds")
        if step in _GROWING:
            raise Unfit(field, f"{text!r} makes text anew ({step.partition('.')[2]}); a rule may compare, cut and measure it")
        if step not in STEPS:
            raise _several(field, text)


def _steps(node: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    """The name of each step of a serialized expression."""
    match node:
        case {"Column": _}:
            yield "Column"
        case {"Literal": {"Scalar": dict(value)}}:
            yield next((name for name in value if name in _TIMES), "Literal")
        case {"Literal": _}:
            yield "Literal"
        case {"BinaryExpr": {"left": left, "right": right}}:
            yield from ("BinaryExpr", *_steps(left), *_steps(right))
        case {"Ternary": {"predicate": predicate, "truthy": truthy, "falsy": falsy}}:
            yield from ("Ternary", *_steps(predicate), *_steps(truthy), *_steps(falsy))
        case {"Cast": {"expr": inner}}:
            yield from ("Cast", *_steps(inner))
        case {"Function": {"input": [_, *of_all], "function": function}} if _name(function) in _IS_IN and "Column" in _inner(of_all):
            yield "a column as a set"
        case {"Function": {"input": inputs, "function": function}}:
            yield _name(function)
            for each in inputs:
                yield from _steps(each)
        case _:
            yield _name(node)


def _inner(nodes: list[Any]) -> Iterator[str]:
    for node in nodes:
        yield from _steps(node)


def _name(function: Any) -> str:  # noqa: ANN401  # JSON: a name, {group: name} or {group: {name: parameters}}
    if not isinstance(function, dict):
        return str(function)
    (group, inner), *_ = function.items()
    return f"{group}.{next(iter(inner), '') if isinstance(inner, dict) else inner}"


def _rows(schema: pl.Schema, kind: int) -> pl.DataFrame:
    """Five rows, in which columns of one type differ: of equal ones each row has itself what another one has."""
    nothing = [None] * 5
    columns = []
    for number, (name, dtype) in enumerate(schema.items()):
        samples, at = _SAMPLES.get(dtype, (nothing, nothing))[kind], number % 5
        columns.append(pl.Series(name, samples[at:] + samples[:at], dtype))
    return pl.DataFrame(columns)


def _whole(found: pl.Expr, rows: pl.DataFrame) -> pl.Series:
    return rows.with_columns(found=found)["found"]


def _alone(found: pl.Expr, rows: pl.DataFrame) -> pl.Series:
    return pl.concat([_whole(found, rows[row]) for row in range(rows.height)])
