"""Tables and pictures of the structure experiments, of as many runs as are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from studies.strategies import with_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[dict[str, Any]]

FALLS = (1.0, 5.0)
"""Points of accuracy."""


def by_strategy(records: Records) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The records of each strategy."""
    for name, group in groupby(sorted(records, key=lambda each: each["strategy"]), key=lambda each: each["strategy"]):
        yield name, list(group)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def report_reset(records: Records) -> list[str]:
    """E1: accuracies by where the structure and the weights come from."""
    names = list(records[0]["accuracies"])
    rows = [
        (f"`{name}`", *(with_deviation([100 * each["accuracies"][kind] for each in own]) for kind in names))
        for name, own in by_strategy(records)
    ]
    return table(("strategy", *names), rows)


def report_robustness(records: Records) -> list[str]:
    """E2: area under the accuracy, and how much may go before it falls."""
    falls = [f"{points:g} point{'s' * (points > 1)} less from" for points in FALLS]
    rows = []
    for name, own in by_strategy(records):
        for kind in own[0]["curves"]:
            curves = [each["curves"][kind] for each in own]
            rows.append(
                (
                    f"`{name}`",
                    kind,
                    with_deviation([100 * curve[0] for curve in curves]),
                    with_deviation([100 * mean(curve) for curve in curves]),
                    *(_share_of_fall(own[0]["shares"], curves, points) for points in FALLS),
                )
            )
    return table(("strategy", "removed", "accuracy, all there", "mean over the shares", *falls), rows)


def report_emergence(records: Records) -> list[str]:
    """E3: when the last structure is there."""
    columns = ("strategy", "accuracy", "overlap after epoch 1", "by chance", "90 % after epoch", "distance to the last")
    rows = []
    for name, own in by_strategy(records):
        distances = [
            f"{epoch}: {mean(each['distances'][epoch] for each in own):.3f}" for epoch in map(str, _epochs(own))
        ]
        rows.append(
            (
                f"`{name}`",
                with_deviation([100 * each["accuracy"] for each in own]),
                with_deviation([each["overlap"][0] for each in own]),
                f"{mean(each['by_chance'] for each in own):.3f}",
                with_deviation([each["high_after"] for each in own]),
                ", ".join(distances),
            )
        )
    return table(columns, rows)


def report_freeze(records: Records) -> list[str]:
    """E4: accuracies and changes by the last epoch after which the topology changes."""
    ends = list(records[0]["accuracies"])
    rows = [
        (
            f"`{name}`",
            *(
                f"{with_deviation([100 * each['accuracies'][end] for each in own])} "
                f"({mean(each['changes'][end] for each in own):g})"
                for end in ends
            ),
        )
        for name, own in by_strategy(records)
    ]
    return table(("strategy", *(f"until epoch {end}" if end != "0" else "never" for end in ends)), rows)


def draw_reset(records: Records) -> Figure:
    """Bars by strategy."""
    figure, axes = _panel()
    names = list(records[0]["accuracies"])
    for number, kind in enumerate(names):
        found = [[100 * each["accuracies"][kind] for each in own] for _, own in by_strategy(records)]
        places = np.arange(len(found)) + (number + 0.5 - len(names) / 2) * 0.8 / len(names)
        spreads = [_deviation(values) for values in found]
        axes.bar(places, [mean(values) for values in found], 0.8 / len(names), yerr=spreads, capsize=2, label=kind)
    axes.set_xticks(range(len(found)), [name for name, _ in by_strategy(records)])
    axes.set_ylim(bottom=0.9 * min(100 * min(each["accuracies"].values()) for each in records))
    return _finished(figure, axes, "Structure without its weights")


def draw_robustness(records: Records) -> Figure:
    """Accuracy by the share that is removed: the smallest weights of all."""
    figure, axes = _panel()
    for name, own in by_strategy(records):
        curves = [[100 * accuracy for accuracy in each["curves"]["smallest of all"]] for each in own]
        _draw_band(axes, own[0]["shares"], curves, marker=".", label=name)
    axes.set_xlabel("share of the connections removed")
    return _finished(figure, axes, "Smallest weights of all layers removed")


def draw_emergence(records: Records) -> Figure:
    """Overlap with the last structure by epoch."""
    figure, axes = _panel()
    for name, own in by_strategy(records):
        curves = [each["overlap"] for each in own]
        _draw_band(axes, range(1, len(curves[0]) + 1), curves, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel("connections shared with the last one")
    return _finished(figure, axes, "When the structure emerges", ylabel=False)


def draw_freeze(records: Records) -> Figure:
    """Accuracy by the epoch after which the topology stays."""
    figure, axes = _panel()
    ends = list(records[0]["accuracies"])
    for name, own in by_strategy(records):
        curves = [[100 * each["accuracies"][end] for end in ends] for each in own]
        _draw_band(axes, ends, curves, marker=".", label=name)
    axes.set_xlabel("last epoch after which the topology changes")
    return _finished(figure, axes, "Frozen early")


def _share_of_fall(shares: Sequence[float], curves: Sequence[Sequence[float]], points: float) -> str:
    """The first share at which the mean accuracy has fallen by so much."""
    average = 100 * np.mean(curves, axis=0)
    fallen = [share for share, value in zip(shares, average, strict=True) if value <= average[0] - points]
    return f"{fallen[0]:.1f}" if fallen else "never"


def _epochs(records: Records) -> list[int]:
    return sorted(int(epoch) for epoch in records[0]["distances"])


def _panel() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    return figure, figure.subplots()


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation over the seeds; of a single one 0."""
    return stdev(values) if len(values) > 1 else 0.0


def _draw_band(axes: Axes, places: Sequence[Any], curves: Sequence[Sequence[float]], **style: Any) -> None:
    """Draw the mean of the seeds' curves, and how far they deviate from it."""
    middle = np.mean(curves, axis=0)
    (line,) = axes.plot(places, middle, **style)
    spread = [_deviation(values) for values in zip(*curves, strict=True)]
    axes.fill_between(places, middle - spread, middle + spread, color=line.get_color(), alpha=0.2, linewidth=0)


def _finished(figure: Figure, axes: Axes, title: str, *, ylabel: bool = True) -> Figure:
    if ylabel:
        axes.set_ylabel("test accuracy, %")
    axes.set_title(f"{title}: mean ± deviation of the seeds", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


Report = Callable[[Records], list[str]]
Drawing = Callable[[Records], "Figure"]
