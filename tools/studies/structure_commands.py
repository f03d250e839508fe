"""The sub-commands ``structure-*`` of ``tools/experiments``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks.report import machine

from studies import structure_experiments as experiments
from studies import structure_reports as reports
from studies.run_log import RunLog
from studies.runs import ROOT
from studies.strategies import COMMON, DATA_SETS, STRATEGIES
from studies.structure import Laboratory
from studies.structure_options import GUIDED, Options, with_options

KEY = ("data", "strategy", "seed")
NAMES = ("structure-reset", "structure-robustness", "structure-emergence", "structure-freeze")

Ends = Annotated[str, typer.Option(help="Last epochs after which the topology changes; the last one is.")]
Measure = Callable[[Laboratory, str, int], dict[str, Any]]


@with_options()
def structure_reset(options: Options) -> None:
    """E1: accuracy of the final structure alone, trained again with other weights, beside three controls."""
    study = _Study("E1: structure without its weights", options)
    study.run(experiments.measure_reset, reports.report_reset, reports.draw_reset)


@with_options(strategies=f"static,{GUIDED}")
def structure_robustness(options: Options) -> None:
    """E2: accuracy when more and more connections are removed after training."""
    study = _Study("E2: robustness to further pruning", options)
    study.run(experiments.measure_robustness, reports.report_robustness, reports.draw_robustness)


@with_options()
def structure_emergence(options: Options) -> None:
    """E3: time at which the final structure emerges."""
    study = _Study("E3: when the structure emerges", options)
    study.run(experiments.measure_emergence, reports.report_emergence, reports.draw_emergence)


@with_options()
def structure_freeze(options: Options, ends: Ends = "0,1,5") -> None:
    """E4: cost of freezing the topology after the first epochs."""
    study = _Study("E4: frozen early", options, {"ends": ends})
    measure = partial(experiments.measure_freeze, ends=[int(end) for end in ends.split(",")])
    study.run(measure, reports.report_freeze, reports.draw_freeze)


LEGENDS = {
    "E1": "Test accuracy of the last epoch in %, mean ± standard deviation over the seeds. Structures are trained "
    "without evolution, with the same schedule.",
    "E2": "Test accuracy in %, without further training; the mean over the shares 0, 0.1, ... 0.9 is the area under "
    "the curve; then the first share at which the mean accuracy has fallen by so much.",
    "E3": "Overlap: share of the last structure's connections that are there after an epoch, of the layers that "
    "evolve. Distances (NNSTD): mean of the layers, by epoch.",
    "E4": "Test accuracy of the last epoch in %; in brackets, how often the topology has changed. `drop_schedule` is "
    "constant. Gradient-guided growth needs gradients of all or of drawn pairs at each change, and none afterwards.",
}


class _Study:
    """One experiment on some data sets: strategies by seeds, seed by seed."""

    def __init__(self, title: str, options: Options, more: dict[str, Any] | None = None) -> None:
        self._title, self._options = title, options
        self._data, self._strategies = _known(options.data, DATA_SETS), _known(options.strategies, STRATEGIES)
        self._settings = {"epochs": options.epochs, "density": options.density, "common": list(COMMON), **(more or {})}

    def run(self, measure: Measure, report: reports.Report, draw: reports.Drawing) -> None:
        """Do what is missing and write the report after each."""
        options, output = self._options, self._options.output.resolve()
        if not output.parent.is_dir():
            raise typer.BadParameter(f"--output {options.output}: no such folder")
        os.chdir(ROOT)  # where data/ is looked for
        log = RunLog(output.with_suffix(".jsonl"), self._settings, KEY)
        laboratories = {
            name: Laboratory.open(name, options.density, options.epochs, options.threads) for name in self._data
        }
        for seed in range(options.seeds):
            for data, laboratory in laboratories.items():
                for strategy in self._strategies:
                    trial = {"data": data, "strategy": strategy, "seed": seed}
                    if trial not in log:
                        log.add(trial | measure(laboratory, strategy, seed))
                        print(f"{data} {strategy} {seed}", file=sys.stderr, flush=True)
                        self._write(output, log, report, draw)
        self._write(output, log, report, draw)

    def _write(self, output: Path, log: RunLog, report: reports.Report, draw: reports.Drawing) -> None:
        lines = [f"# {self._title}", "", LEGENDS[self._title[:2]], ""]
        lines += [f"Density {self._options.density:g}, {self._options.epochs} epochs, `{' '.join(COMMON)}`.", ""]
        lines += [", ".join(f"{name} {what}" for name, what in machine().items()), ""]
        for data in self._data:
            records = [each for each in log if each["data"] == data and each["strategy"] in self._strategies]
            if not records:
                continue
            picture = output.with_name(f"{output.stem}_{data}.png")
            draw(records).savefig(picture, dpi=130)
            n_seeds = len({record["seed"] for record in records})
            lines += [f"## {data}, {n_seeds} seed{'s' * (n_seeds > 1)}", "", *report(records)]
            lines += [f"![{self._title}]({picture.name})", ""]
        output.write_text("\n".join(lines))


def _known(text: str, known: Any) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name}: unknown; known are {', '.join(known)}")
    return names
