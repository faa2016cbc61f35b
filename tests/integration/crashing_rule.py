"""The factory worker with rules, in front of its own, that raise an exception: over trends always, over readings at the first batch."""

from dataclasses import replace

import polars as pl

from agents.factory.domain import FACTORY
from streams.factory import app, factory

__all__ = ["app"]


def crash(_):
    raise ZeroDivisionError


def crashing(rule, column):
    raises = pl.col(column).map_elements(crash, return_dtype=pl.Boolean, skip_nulls=False)
    return replace(rule, name=f"crashing-{column}", raises=raises)


TREND_RULES = [crashing(FACTORY.trend_rules[0], "mean"), *FACTORY.trend_rules]
factory.adopt(replace(FACTORY, rules=[crashing(FACTORY.rules[0], "value"), *FACTORY.rules], trend_rules=TREND_RULES))
