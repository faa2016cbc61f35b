"""The factory worker with a rule over trends, in front of its own, that raises an exception whatever it is shown."""

from dataclasses import replace

import polars as pl

from agents.factory.domain import FACTORY
from streams.factory import app, factory

__all__ = ["app"]


def crash(_):
    raise ZeroDivisionError


RULE = replace(
    FACTORY.trend_rules[0], name="crashing", raises=pl.col("mean").map_elements(crash, return_dtype=pl.Boolean, skip_nulls=False)
)
factory.adopt(replace(FACTORY, trend_rules=[RULE, *FACTORY.trend_rules]))
