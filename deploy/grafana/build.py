"""Dashboards as data to Grafana's JSON, through the builders of its own SDK."""

from collections.abc import Iterator
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard, DashboardCursorSync, DashboardLinkType, VariableOption, VariableRefresh
from grafana_foundation_sdk.models.dashboard import VariableSort as Sort

from deploy.grafana.board import Board, Row
from deploy.grafana.frames import SOURCE, WIDTH, frame, target
from deploy.grafana.queries import FIRING, TARGET, narrowed, variables_of

# Dashboards of this tag link to each other.
TAG: Final = "headrace"


def to_json(board: Board) -> str:
    """The dashboard as Grafana takes it; keys in order and a line a value, so that a change is a difference one can read."""
    return JSONEncoder(sort_keys=True, indent=1).encode(build(board)) + "\n"


def build(board: Board) -> Dashboard:
    """The dashboard in the SDK's model."""
    # The SDK's default for the links is a menu, where nobody looks.
    links = (
        dashboard.DashboardLink("Headrace").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True).include_vars(True).placement("")
    )
    alerts = dashboard.AnnotationQuery().name("Rules that fire").datasource(SOURCE).icon_color("red").enable(True).target(target(FIRING))
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .refresh("15s")
        .time("now-30m", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(links)
        .annotation(alerts.title_format("{{alertname}}").text_format("{{worker}} {{topic}} {{domain}}").tag_keys("severity"))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable in _variables(board):
        builder = builder.with_variable(variable)
    for row in board.rows:
        builder = builder.with_row(dashboard.Row(row.title))
        for panel, width in zip(row.panels, _widths(row), strict=True):
            builder = builder.with_panel(frame(panel).span(width))
    built = builder.build()
    for number, placed in enumerate(built.panels or (), 1):
        placed.id_val = number
    return built


def _variables(board: Board) -> Iterator[dashboard.QueryVariable]:
    """The labels that the dashboard's queries can be narrowed by; at first all values, also of series without the label."""
    asked = {name for panel in board.panels for query in panel.queries.values() for name in variables_of(narrowed(query))}
    for name in (*TARGET, *(label for label in ("domain", "topic") if label in asked)):
        of = 'up{job="headrace"}' if name in TARGET else f'{{__name__=~"headrace_.+", {name}!=""}}'
        yield (
            dashboard.QueryVariable(name)
            .label(name.capitalize())
            .query(f"label_values({of}, {name})")
            .datasource(SOURCE)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(Sort.ALPHABETICAL_ASC)
        )


def _widths(row: Row) -> Iterator[int]:
    """Of the row's panels, whose numbers come first: four numbers a line or three graphs, and none alone on a line but the only one."""
    numbers = sum(panel.kind == "stat" for panel in row.panels)
    for left, most in ((numbers, 4), (len(row.panels) - numbers, 3)):
        while left:
            together = 2 if left in (2, most + 1) else min(most, left)
            yield from [WIDTH // together] * together
            left -= together
