"""How Grafana draws a panel, by its kind: units, colours, legends, sizes."""

from string import ascii_uppercase
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId, Threshold, ThresholdsMode

from deploy.grafana.panels import Panel, Thresholds
from deploy.grafana.queries import narrowed

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH: Final = 24
STAT_HEIGHT: Final = 4
GRAPH_HEIGHT: Final = 8
# What became of records has one colour on all dashboards.
COLOURS: Final = {
    "accepted|stored|produced|came-true": "green",
    "received|raised": "blue",
    "duplicate": "purple",
    "late|withdrawn": "orange",
    "rejected": "red",
}

Frame = stat.Panel | timeseries.Panel | statetimeline.Panel


def frame(panel: Panel) -> Frame:
    """The panel with its queries, narrowed by the dashboard's variables."""
    drawn = _drawn(panel)
    drawn.title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    if panel.thresholds:
        drawn.thresholds(_steps(panel.thresholds))
    for letter, (legend, query) in zip(ascii_uppercase, panel.queries.items(), strict=False):
        asked = target(narrowed(query)).ref_id(letter).legend_format(legend or panel.title)
        # The newest value only: what fired an hour ago does not fire now.
        drawn.with_target(asked.instant() if panel.kind == "stat" else asked.range())
    return drawn


def target(query: str) -> prometheus.Dataquery:
    """A query of the dashboard's Prometheus."""
    return prometheus.Dataquery().datasource(SOURCE).expr(query)


def _drawn(panel: Panel) -> Frame:
    match panel.kind:
        case "stat":
            return _stat(tiles=any(panel.queries), coloured=bool(panel.thresholds))
        case "timeline":
            return (
                statetimeline.Panel()
                .height(GRAPH_HEIGHT)
                .show_value(VisibilityMode.NEVER)
                .merge_values(True)
                .fill_opacity(80)
                .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
            )
        case "lines":
            return _graph(panel.thresholds)
        case "areas":
            return _graph(panel.thresholds).fill_opacity(30).stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))


def _stat(*, tiles: bool, coloured: bool) -> stat.Panel:
    return (
        stat.Panel()
        .height(STAT_HEIGHT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .text_mode(BigValueTextMode.VALUE_AND_NAME if tiles else BigValueTextMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.BACKGROUND if coloured else BigValueColorMode.NONE)
    )


def _graph(thresholds: Thresholds) -> timeseries.Panel:
    graph = (
        timeseries.Panel()
        .height(GRAPH_HEIGHT)
        .line_width(1)
        .fill_opacity(5)
        .show_points(VisibilityMode.NEVER)
        .axis_soft_min(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    )
    if thresholds:
        graph.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    for outcomes, colour in COLOURS.items():
        graph.override_by_regexp(f"/^({outcomes})$/", [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})])
    return graph


def _steps(thresholds: Thresholds) -> dashboard.ThresholdsConfig:
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value, colour) for value, colour in thresholds])
