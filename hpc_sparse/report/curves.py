"""Pictures of metrics over the epochs, all runs together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.report.groups import RunGroup
from hpc_sparse.report.panels import (
    draw_band,
    fit_to_later_epochs,
    from_zero,
    in_thousands,
    legend_below,
    make_panels,
    over_epochs,
)
from hpc_sparse.report.series import band

Value = Callable[[EpochMetrics], float]

PERCENT = 100.0
SLIMMER = 0.8
"""Ratio of a line's width to that of the line below, for lines that often coincide."""


def draw_learning(groups: Sequence[RunGroup]) -> Figure:
    """Loss and accuracy: of one experiment training and test in one panel, of several in panels of their own."""
    return _draw_learning_of_one(groups[0]) if len(groups) == 1 else _draw_learning_of_many(groups)


def draw_sizes(groups: Sequence[RunGroup]) -> Figure:
    """Connections and neurons; a panel less if no run has stored its neurons."""
    has_neurons = any(metrics.n_neurons for group in groups for run in group.runs for metrics in run.history)
    figure, panels = make_panels(1, 1 + has_neurons)
    _draw_all(panels[0], groups, lambda metrics: metrics.n_connections, slimmer=SLIMMER)
    over_epochs(panels[0], "Connections of all layers", "connections")
    if has_neurons:
        _draw_all(panels[1], groups, lambda metrics: metrics.n_neurons or float("nan"), slimmer=SLIMMER)
        over_epochs(panels[1], "Neurons, inputs included", "neurons")
    for axes in panels:
        in_thousands(axes)
        from_zero(axes)
    legend_below(figure, panels[0])
    return figure


def draw_changes(groups: Sequence[RunGroup]) -> Figure:
    """Connections that evolution replaced, as a number and as a share."""
    figure, (left, right) = make_panels(1, 2)
    _draw_all(left, groups, lambda metrics: metrics.connections_changed, slimmer=SLIMMER)
    over_epochs(left, "Connections grown by evolution", "connections per epoch")
    in_thousands(left)
    _draw_all(right, groups, _share_changed, scale=PERCENT, slimmer=SLIMMER)
    over_epochs(right, "The same as a share of all connections", "% per epoch")
    for axes in (left, right):
        from_zero(axes)
    legend_below(figure, left)
    return figure


def _draw_learning_of_one(group: RunGroup) -> Figure:
    figure, (left, right) = make_panels(1, 2)
    for number, (part, loss, accuracy) in enumerate(_parts([group])):
        histories = [run.history for run in group.runs]
        draw_band(left, band(histories, loss), number, part)
        draw_band(right, band(histories, accuracy), number, part, scale=PERCENT)
    over_epochs(left, f"Loss, {group.legend}", "mean loss per sample")
    over_epochs(right, f"Accuracy, {group.legend}", "% of samples")
    for axes in (left, right):
        fit_to_later_epochs(axes)
    legend_below(figure, left)
    return figure


def _draw_learning_of_many(groups: Sequence[RunGroup]) -> Figure:
    parts = _parts(groups)[::-1]
    figure, panels = make_panels(2, len(parts))
    for column, (part, loss, accuracy) in enumerate(parts):
        _draw_all(panels[column], groups, loss)
        over_epochs(panels[column], f"Loss, {part}", "mean loss per sample")
        _draw_all(panels[len(parts) + column], groups, accuracy, scale=PERCENT)
        over_epochs(panels[len(parts) + column], f"Accuracy, {part}", "% of samples")
    for axes in panels:
        fit_to_later_epochs(axes)
    legend_below(figure, panels[0])
    return figure


def _draw_all(
    axes: Axes, groups: Sequence[RunGroup], value: Value, *, scale: float = 1.0, slimmer: float = 0.0
) -> None:
    for number, group in enumerate(groups):
        n_above = max(0, len(groups) - 1 - number)
        found = band([run.history for run in group.runs], value)
        draw_band(axes, found, number, group.legend, scale=scale, width=1.6 + slimmer * min(n_above, 4))


def _share_changed(metrics: EpochMetrics) -> float:
    return metrics.connections_changed / max(1, metrics.n_connections)


def _parts(groups: Sequence[RunGroup]) -> list[tuple[str, Value, Value]]:
    """Names of the parts of the data, with loss and accuracy; the validation part if one of the runs has it."""
    parts: list[tuple[str, Value, Value]] = [
        ("training (with dropout)", lambda metrics: metrics.train_loss, lambda metrics: metrics.train_accuracy),
        ("test", lambda metrics: metrics.test_loss, lambda metrics: metrics.test_accuracy),
    ]
    if any(run.has_validation for group in groups for run in group.runs):
        parts.insert(1, ("validation", _if_any("validation_loss"), _if_any("validation_accuracy")))
    return parts


def _if_any(name: str) -> Value:
    """A metric, which is not-a-number in runs that do not have it."""
    return lambda metrics: math.nan if getattr(metrics, name) is None else getattr(metrics, name)
