"""Pictures of how strong neurons are: hidden ones, inputs, and inputs that are pixels."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hpc_sparse.dtypes import Float64Array
from hpc_sparse.report.image_shape import ImageShape
from hpc_sparse.report.panels import make_panels
from hpc_sparse.report.strengths import Strengths

MAP = "viridis"
REMOVED = "0.55"
"""Grey of an input that was removed."""

PICTURE_INCHES = 2.3
ROW_LENGTH = 3
"""Pictures side by side."""


def draw_importance(series: Sequence[Strengths]) -> Figure:
    """Sorted strengths: of the hidden layers in the last checkpoint, of the inputs in all of them."""
    figure, (left, right) = make_panels(1, 2, height=1.1)
    last = series[-1]
    for number, strength in enumerate(last.hidden, 1):
        _draw_sorted(left, strength, label=f"hidden layer {number}")
    left.set_title(f"Hidden neurons, epoch {last.epoch}")
    left.set_ylabel("sum of incoming |weights|")
    for each, colour in zip(series, _shades(len(series)), strict=True):
        _draw_sorted(right, each.inputs[np.isfinite(each.inputs)], label=f"epoch {each.epoch}", color=colour)
    right.set_title("Inputs")
    right.set_ylabel("sum of outgoing |weights|")
    for axes in (left, right):
        axes.set_xlabel("% of the neurons, strongest first")
        axes.set_xlim(0, 100)
        axes.set_ylim(bottom=0)
        if axes.get_legend_handles_labels()[1]:
            axes.legend()
    return figure


def draw_pixels(series: Sequence[Strengths], shape: ImageShape) -> Figure:
    """The strength of every input at the place of its pixel, in each checkpoint, colours of a pixel added up."""
    pictures = [as_picture(each.inputs, shape) for each in series]
    greatest = max((float(np.nanmax(picture)) for picture in pictures if np.isfinite(picture).any()), default=1.0)
    colours = mpl.colormaps[MAP].with_extremes(bad=REMOVED)
    n_columns = min(len(series), ROW_LENGTH)
    n_rows = -(-len(series) // n_columns)
    figure = Figure(figsize=(PICTURE_INCHES * n_columns + 1.1, (PICTURE_INCHES + 0.3) * n_rows), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, each, picture in zip(panels, series, pictures, strict=False):
        image = axes.imshow(picture, vmin=0, vmax=greatest, cmap=colours, interpolation="nearest")
        axes.set_title(f"epoch {each.epoch}")
    figure.colorbar(image, ax=panels, label="sum of outgoing |weights|", shrink=0.9, aspect=25)
    return figure


def as_picture(inputs: Float64Array, shape: ImageShape) -> Float64Array:
    """float64[height, width]: the strengths of a pixel's colours added up, not-a-number if all were removed."""
    colours = np.full(shape.n_features, np.nan)
    colours[: inputs.size] = inputs
    pixels = colours.reshape(shape.height, shape.width, shape.channels)
    return np.where(np.isnan(pixels).all(axis=2), np.nan, np.nansum(pixels, axis=2))


def _draw_sorted(axes: Axes, strength: Float64Array, *, label: str, color: object = None) -> None:
    position = 100 * (np.arange(strength.size) + 0.5) / max(1, strength.size)
    axes.plot(position, np.sort(strength)[::-1], label=label, color=color)


def _shades(n: int) -> list[object]:
    """From faint to strong, readable on light and dark pages; the usual colour if there is one only."""
    return [None] if n == 1 else list(mpl.colormaps["viridis"](np.linspace(0.25, 0.85, n)))
