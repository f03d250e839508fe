"""Another tree against this one: the same real runs and the same kernels, interleaved."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from statistics import median

from benchmarks import report
from benchmarks.epoch_speed import LAYOUTS, PARTS, run_settings
from benchmarks.real_run import ROOT, RealRun, run_training


def compare_trees(other: Path, n_rounds: int, n_epochs: int, *, as_json: bool) -> None:
    """Print what both trees take, and by how much this one is slower.

    Runs of the two trees alternate and are compared in pairs, since a shared machine changes its speed within minutes.

    Parameters
    ----------
    other : Path
        Another checkout that is set up and whose job and benchmarks go by the same names.
    n_rounds, n_epochs : int
        Runs of each layout and tree, and their epochs, of which the first is left out.
    """
    trees = [("other", other.resolve()), ("this", ROOT)]
    measured: dict[str, dict[str, list[float]]] = {}
    for number in range(n_rounds):
        in_turn = trees if number % 2 == 0 else trees[::-1]
        for layout, (n_ranks, n_threads) in LAYOUTS.items():
            for name, root in in_turn:
                run = run_training(n_ranks, run_settings(n_threads, n_epochs), root=root)
                for part, value in _parts(run).items():
                    measured.setdefault(f"{layout}: {part}", {}).setdefault(name, []).append(value)
        for name, root in in_turn:
            for kernel, picoseconds in _kernels(root).items():
                measured.setdefault(kernel, {}).setdefault(name, []).append(picoseconds)
    both = {what: of_trees for what, of_trees in measured.items() if len(of_trees) == len(trees)}
    rows = [_row(what, of_trees["other"], of_trees["this"]) for what, of_trees in both.items()]
    notes = [
        f"{n_rounds} rounds of {n_epochs} epochs, first epochs left out; each run follows its equal of the other tree",
        "slower by %: median over the pairs, and of the least of all",
    ]
    report.show("This tree against another", rows, notes, as_json=as_json)


def _parts(run: RealRun) -> dict[str, float]:
    parts = {part.replace("_seconds", ", s"): median(epoch[part] for epoch in run.epochs[1:]) for part in PARTS}
    return parts | {"first step after, s": run.first_step_seconds}


def _kernels(root: Path) -> dict[str, float]:
    """Picoseconds per floating-point operation, by layer and pass."""
    command = [f"{root}/.venv/bin/python", "tools/bench", "kernels", "--rounds", "5", "--json"]
    measured = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout)
    return {
        f"{row['layer']}: {kernel}, ps": 1000 / float(rate.split()[0])
        for row in measured["rows"]
        for kernel, rate in row.items()
        if kernel not in {"layer", "SciPy forward"}
    }


def _row(what: str, other: list[float], this: list[float]) -> dict[str, object]:
    pairs = median(after / before for before, after in zip(other, this, strict=True))
    return {
        "what": what,
        "other": median(other),
        "this": median(this),
        "slower by %": 100 * (pairs - 1),
        "of the least": 100 * (min(this) / min(other) - 1),
    }
