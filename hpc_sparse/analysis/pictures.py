"""Pictures of what the commands found. matplotlib is imported when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpc_sparse.errors import InputError, MachineError, OutputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 130
PANEL_INCHES = (4.2, 3.2)

MAX_LABELLED = 12
"""Networks in a map of distances beyond which the numbers would not fit."""

READABLE_IN_WHITE = 0.6
"""Smaller values have a dark colour."""

GREY = "0.6"
COLOUR = "#2a6f97"
CONTRAST = "#d1603d"


def check_picture(path: Path) -> None:
    """Make sure that a picture can be written, before anything is computed.

    Raises
    ------
    InputError
        The file exists, cannot be made there, or is of no known format; or matplotlib is missing.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--picture {path}: expected a file name that ends in {', '.join(FORMATS)}")
    if path.exists():
        raise OutputError(f"{path}: exists already; choose another --picture")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: {path.parent} is not a folder")
    try:
        import matplotlib.figure  # noqa: F401, PLC0415  (only those who want pictures have it)
    except ImportError:
        raise MachineError(
            "--picture: matplotlib is missing: install the extra 'report' (pip install 'hpc-sparse[report]')"
        ) from None


def write_picture(draw: Callable[[dict[str, Any]], Figure], report: dict[str, Any], path: Path) -> None:
    """Draw a report and write the picture.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    content = io.BytesIO()
    draw(report).savefig(content, dpi=DOTS_PER_INCH, format=path.suffix.lower()[1:])
    try:
        path.write_bytes(content.getvalue())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None


def draw_distances(report: dict[str, Any]) -> Figure:
    """A map of the mean distances of all pairs; of one pair the distances of its layers."""
    n = len(report["networks"])
    if n == 2:
        return _draw_one_distance(report)
    matrix = np.zeros((n, n))
    for record in report["distances"]:
        matrix[record["first"], record["second"]] = matrix[record["second"], record["first"]] = record["mean"]
    figure, ((axes,),) = _panels(1, 1, scale=max(1.3, n / 8))
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    if n <= MAX_LABELLED:
        for (i, j), value in np.ndenumerate(matrix):
            color = "white" if value < READABLE_IN_WHITE else "black"
            axes.text(j, i, f"{value:.3f}", ha="center", va="center", color=color, fontsize=8)
    names = [f"{each['number']}: epoch {each['epoch']}" for each in report["networks"]]
    axes.set_yticks(range(n), names)
    axes.set_xticks(range(n), [str(number) for number in range(n)])
    axes.set_title("Topology distance (NNSTD), mean of the layers")
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


def draw_overlap(report: dict[str, Any]) -> Figure:
    """Overlap with the last checkpoint, and share of explored connections, over the epochs."""
    figure, ((left, right),) = _panels(1, 2)
    layers = sorted({record["layer"] for record in report["by_layer"] if record["explored"] < 1})  # without dense ones
    for layer in layers:
        records = [record for record in report["by_layer"] if record["layer"] == layer]
        _draw_over_time(left, records, "overlap_with_last", label=f"layer {layer}", alpha=0.5)
        _draw_over_time(right, records, "explored", label=f"layer {layer}", alpha=0.5)
    _draw_over_time(left, report["sparse_layers"], "overlap_with_last", color="black", label="sparse layers")
    _draw_over_time(left, report["sparse_layers"], "by_chance", color=GREY, linestyle="--", label="by chance")
    _draw_over_time(right, report["sparse_layers"], "explored", color="black", label="sparse layers")
    left.set_title("Connections shared with the last checkpoint")
    right.set_title("Connections tried so far ($R_s$)")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    left.set_ylabel("share of the last checkpoint's")
    right.set_ylabel("share of all possible ones")
    return figure


def draw_degrees(report: dict[str, Any]) -> Figure:
    """Histograms of the degrees, a row per layer, with the random expectation."""
    n_layers = len(report["distributions"]) // 2
    figure, panels = _panels(n_layers, 2)
    for number, found in enumerate(report["distributions"]):
        axes = panels[number // 2][number % 2]
        counts, expected = np.array(found["counts"]), np.array(found["expected"])
        width = max(1, -(-counts.size // 60))
        starts = np.arange(0, counts.size, width)
        edges = np.array([*starts, starts[-1] + width]) - 0.5
        axes.bar(edges[:-1], np.add.reduceat(counts, starts), width, align="edge", color=COLOUR, label="found")
        axes.stairs(np.add.reduceat(expected, starts), edges, color=CONTRAST, label="by chance", lw=1.5)
        axes.set_title(f"Layer {found['layer']}, fan-{found['direction']}")
        axes.set_xlabel(f"{'incoming' if found['direction'] == 'in' else 'outgoing'} connections")
        axes.set_ylabel("neurons")
        axes.legend(fontsize=8)
    return figure


def draw_paths(report: dict[str, Any]) -> Figure:
    """Paths from each input and to each output."""
    figure, ((left, right),) = _panels(1, 2)
    from_input, to_output = np.array(report["from_input"]), np.array(report["to_output"])
    left.plot(from_input, ".", markersize=3, color=COLOUR)
    left.axhline(report["expected_paths"] / from_input.size, color=CONTRAST, lw=1.5, label="by chance, mean")
    left.set_title("Paths from each input")
    left.set_xlabel("input")
    right.bar(np.arange(to_output.size), to_output, color=COLOUR)
    right.axhline(report["expected_paths"] / to_output.size, color=CONTRAST, lw=1.5, label="by chance, mean")
    right.set_title("Paths to each output")
    right.set_xlabel("output")
    for axes in (left, right):
        axes.set_ylabel("paths")
        _leave_room(axes)
    return figure


def draw_summary(report: dict[str, Any]) -> Figure:
    """Live, dead and removed neurons and effective connections of each layer."""
    figure, ((left, right),) = _panels(1, 2)
    neurons, layers = report["neurons"], report["connections_by_layer"]
    _stack(
        left,
        [each["layer"] for each in neurons],
        {
            "alive": (COLOUR, [each["neurons"] - each["dead"] for each in neurons]),
            "dead": (CONTRAST, [each["dead"] for each in neurons]),
            "removed": (GREY, [each["removed"] for each in neurons]),
        },
    )
    left.set_title("Neurons")
    _stack(
        right,
        [f"layer {each['layer']}" for each in layers],
        {
            "effective": (COLOUR, [each["effective"] for each in layers]),
            "on no path": (CONTRAST, [each["connections"] - each["effective"] for each in layers]),
        },
    )
    right.set_title("Connections")
    return figure


def draw_shifts(report: dict[str, Any]) -> Figure:
    """Share of images that keep their class, for each shift, by kind of shifts."""
    found = report["agreement"]
    figure, (panels,) = _panels(1, len(found))
    least = min(min(map(min, each["share"])) for each in found.values())
    for axes, (kind, each), record in zip(panels, found.items(), report["kinds"], strict=True):
        down, right = each["down"], each["right"]
        edges = (right[0] - 0.5, right[-1] + 0.5, down[-1] + 0.5, down[0] - 0.5)
        # Of a network that always agrees, the colours say so, too.
        image = axes.imshow(100 * np.array(each["share"]), extent=edges, vmin=min(100 * least, 99.0), vmax=100)
        axes.set_title(f"{kind.capitalize()} shifts: consistency {100 * record['consistency']:.3f} %", fontsize=9)
        axes.set_xlabel("pixels to the right")
        axes.set_ylabel("pixels down")
        figure.colorbar(image, ax=axes, shrink=0.8, label="same class, %")
    return figure


def _draw_one_distance(report: dict[str, Any]) -> Figure:
    (record,) = report["distances"]
    layers = {name: value for name, value in record.items() if name.startswith("layer_")}
    figure, ((axes,),) = _panels(1, 1)
    axes.bar([name.replace("_", " ") for name in layers], list(layers.values()), color=COLOUR)
    axes.axhline(record["mean"], color=CONTRAST, lw=1.5, label=f"mean {record['mean']:.4f}")
    axes.set_ylim(0, 1)
    axes.set_title("Topology distance (NNSTD)")
    axes.legend(fontsize=8)
    return figure


def _draw_over_time(axes: Axes, records: list[dict[str, Any]], name: str, **style: Any) -> None:
    axes.plot([record["epoch"] for record in records], [record[name] for record in records], marker=".", **style)


def _stack(axes: Axes, names: list[str], parts: dict[str, tuple[str, list[int]]]) -> None:
    """Bars of several parts upon each other."""
    base = np.zeros(len(names))
    for label, (color, heights) in parts.items():
        axes.bar(names, heights, bottom=base, color=color, label=label)
        base += heights
    axes.tick_params(axis="x", labelrotation=30)
    _leave_room(axes)


def _leave_room(axes: Axes) -> None:
    """Begin at 0, and put the legend above what is drawn."""
    axes.set_ylim(0, 1.25 * axes.get_ylim()[1])
    axes.legend(fontsize=8, ncols=3, loc="upper right")


def _panels(n_rows: int, n_columns: int, *, scale: float = 1.0) -> tuple[Figure, Any]:
    """A figure, without any state of its own outside, and its panels by row and column."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    size = (scale * n_columns * PANEL_INCHES[0], scale * n_rows * PANEL_INCHES[1])
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, squeeze=False)
