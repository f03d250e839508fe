#!/usr/bin/env python3
"""Draw docs/_static/speed.svg from the measurements in tools/results: `.venv/bin/python docs/draw_speed.py`."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tools" / "results"
DENSITIES = (0.001, 0.01, 0.05, 0.2, 0.5, 1.0)
OURS, DENSE = "ours", "torch_dense"
COLOURS = {OURS: "#d1495b", DENSE: "#30638e", "other": "#8d99ae"}
NAMES = {
    OURS: "hpc_sparse",
    "torch_csr": "PyTorch CSR, own backward pass",
    "sparseprop_layers": "sparseprop",
    "sparselab_layers": "sparselab",
    "nerva": "Nerva",
    "torch_csr_autograd": "PyTorch CSR",
    DENSE: "PyTorch dense",
    "torch_masked": "PyTorch masked",
    "scipy_csr": "SciPy CSR",
}
ROW = re.compile(r"^│ (\w+) +│ +([\d.]+) ", re.MULTILINE)


def seconds_per_epoch(file: Path) -> dict[str, float]:
    """Median seconds by the name of the trainer."""
    return {name: float(seconds) for name, seconds in ROW.findall(file.read_text(encoding="utf-8"))}


def draw_bars(axes: Axes) -> None:
    """One bar per trainer, the slowest at the bottom."""
    seconds = seconds_per_epoch(RESULTS / "peers_fashion_mnist.txt")
    trainers = sorted(seconds, key=lambda name: -seconds[name])
    colours = [COLOURS.get(name, COLOURS["other"]) for name in trainers]
    bars = axes.barh([NAMES[name] for name in trainers], [seconds[name] for name in trainers], color=colours)
    axes.bar_label(bars, [f"{seconds[name]:.2g}" for name in trainers], padding=3, fontsize=9)
    axes.set_title("Seconds per epoch, 125,957 connections", fontsize=11, loc="left")
    axes.set_xlim(0, 1.12 * max(seconds.values()))
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(left=False, bottom=False, labelbottom=False)


def draw_densities(axes: Axes) -> None:
    """Ours, dense layers and the fastest other sparse trainer, by density."""
    found = [seconds_per_epoch(RESULTS / f"peers_density_{density}.txt") for density in DENSITIES]
    others = [min(value for name, value in one.items() if name not in (OURS, DENSE, "torch_masked")) for one in found]
    lines = {
        "PyTorch dense": ([one[DENSE] for one in found], COLOURS[DENSE]),
        "fastest other sparse": (others, COLOURS["other"]),
        "hpc_sparse": ([one[OURS] for one in found], COLOURS[OURS]),
    }
    for label, (values, colour) in lines.items():
        axes.loglog(DENSITIES, values, "o-", color=colour, label=label, markersize=4)
    axes.set_title("Seconds per epoch by density", fontsize=11, loc="left")
    axes.set_xlabel("density (3072-1024-512-10)", fontsize=9)
    axes.set_xticks(DENSITIES, [f"{density:g}" for density in DENSITIES], minor=False)
    axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def main() -> None:
    """Write the picture, the same bytes for the same measurements."""
    mpl.rcParams.update({"svg.hashsalt": "speed", "font.size": 9})
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    figure.patch.set_facecolor("white")
    left, right = figure.subplots(1, 2)
    draw_bars(left)
    draw_densities(right)
    target = ROOT / "docs" / "_static" / "speed.svg"
    figure.savefig(target, metadata={"Date": None})
    print(target)


if __name__ == "__main__":
    main()
