"""Shared elements of the pictures: panels, lines with bands, axes that count."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from hpc_sparse.report.series import Band

PANEL_INCHES = (4.6, 3.1)
MOST_MARKED = 25
"""Points on a line beyond which they are not marked one by one."""

EARLY_SHARE = 0.05
"""Fraction of a long run's epochs, from the start, whose values may lie outside the vertical axis."""

EDGE = 0.08
"""Room above and below the later epochs, as a share of their range."""

N_COLOURS = 8
LINE_STYLES = ("-", "--", "-.", ":")
"""Line style of each round through the colours."""

LEGEND_COLUMNS = 5


def make_panels(n_rows: int, n_columns: int, *, width: float = 1.0, height: float = 1.0) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, row by row; the sizes are multiples of a panel's usual ones."""
    size = (n_columns * PANEL_INCHES[0] * width, n_rows * PANEL_INCHES[1] * height)
    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(n_rows, n_columns, squeeze=False).flat)


def draw_band(axes: Axes, band: Band, number: int, label: str, *, scale: float = 1.0, width: float = 1.6) -> None:
    """A line in the colour of a number, with a band of one deviation to both sides."""
    mean, colour = scale * band.mean, f"C{number % N_COLOURS}"
    axes.plot(
        band.epochs,
        mean,
        color=colour,
        linestyle=LINE_STYLES[number // N_COLOURS % len(LINE_STYLES)],
        linewidth=width,
        marker="." if band.epochs.size <= MOST_MARKED else "",
        label=label,
    )
    if band.deviation is not None:
        deviation = scale * band.deviation
        axes.fill_between(band.epochs, mean - deviation, mean + deviation, color=colour, alpha=0.22, linewidth=0)


def over_epochs(axes: Axes, title: str, unit: str) -> None:
    """Label a panel whose horizontal axis is the epochs."""
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def fit_to_later_epochs(axes: Axes) -> None:
    """In long runs, let the vertical axis show the later epochs well, at the cost of the first ones."""
    lines = [line.get_xydata() for line in axes.get_lines()]
    points = np.concatenate([np.asarray(line, np.float64) for line in lines]) if lines else np.empty((0, 2))
    points = points[np.isfinite(points).all(axis=1)]
    if not points.size or points[:, 0].max() <= MOST_MARKED:
        return
    later = points[points[:, 0] >= EARLY_SHARE * points[:, 0].max(), 1]
    margin = max(EDGE * (later.max() - later.min()), 1e-12)
    axes.set_ylim(later.min() - margin, later.max() + margin)


def from_zero(axes: Axes) -> None:
    """Let the vertical axis begin at 0, with some room at the top."""
    axes.set_ylim(0, 1.08 * max(axes.get_ylim()[1], 1e-12))


def in_thousands(axes: Axes) -> None:
    """Show large numbers on the vertical axis as 20k, 3M and so on."""
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def legend_below(figure: Figure, axes: Axes) -> None:
    """One legend for the whole figure, from the lines of one panel."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), LEGEND_COLUMNS if max(map(len, labels), default=0) < 30 else 2)
    figure.legend(handles, _short(labels), loc="outside lower center", ncols=max(1, columns))


def _short(labels: Sequence[str], longest: int = 60) -> list[str]:
    """Long names lose their beginnings, which are folders."""
    return [label if len(label) <= longest else f"…{label[1 - longest :]}" for label in labels]
