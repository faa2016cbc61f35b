"""PromQL of the panels: which metrics of the catalogue a query asks for, and what the dashboards' variables make of it."""

import re
from typing import Final

from streams.metric import Metric
from streams.metrics import CATALOGUE

RATE: Final = "$__rate_interval"
"""A range that Grafana chooses: four scrapes, or more where the dashboard shows long times."""

FIRING: Final = 'ALERTS{alertstate="firing", alertname=~"Headrace.+"}'
"""The rules of deploy/prometheus/alerts.yml that fire; Prometheus itself makes the series."""

METRICS: Final = {metric.name: metric for metric in CATALOGUE}
# Labels that Prometheus adds (deploy/prometheus/prometheus.yml), then those of the catalogue that are worth choosing by.
TARGET: Final = ("worker", "instance")
CHOSEN: Final = ("domain", "topic")

_SELECTOR: Final = re.compile(r"\b(headrace_[a-z_]+|process_[a-z_]+|up)\b(?:\{([^}]*)\})?")


def metrics_of(query: str) -> list[Metric]:
    """The catalogue's metrics that a query asks for, in order. Raises KeyError for one that is not in it."""
    names = (_family(name) for name, _ in _SELECTOR.findall(query) if name.startswith("headrace_"))
    return [METRICS[name] for name in dict.fromkeys(names)]


def narrowed(query: str) -> str:
    """The query for what the dashboard's variables name: each metric gets a matcher for each label it has and the query leaves open."""
    return _SELECTOR.sub(lambda selector: _select(selector[1], selector[2] or ""), query)


def variables_of(query: str) -> list[str]:
    """The variables a narrowed query asks for, in the order in which one chooses."""
    return [label for label in (*TARGET, *CHOSEN) if f'"${label}"' in query]


def or_none(query: str, label: str) -> str:
    """The query; where it finds nothing, 0 of `none`: that there is nothing is an answer, an empty panel is not."""
    return f'{query} or label_replace(vector(0), "{label}", "none", "", "") unless on () {query}'


def _select(name: str, given: str) -> str:
    labels = METRICS[_family(name)].labels if name.startswith("headrace_") else ()
    left_open = [label for label in (*TARGET, *CHOSEN) if label in (*TARGET, *labels) and not re.search(rf"\b{label}\s*[=!]", given)]
    matchers = [*([given] if given else []), *(f'{label}=~"${label}"' for label in left_open)]
    return f"{name}{{{', '.join(matchers)}}}"


def _family(name: str) -> str:
    return re.sub(r"_(bucket|sum|count)$", "", name)
