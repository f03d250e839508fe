"""The sub-commands of ``tools/experiments``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from studies import feature_selection as selection
from studies import patterns as pattern_study
from studies import recurrent as recurrent_study
from studies import scale as scaling
from studies import shifts as shift_study
from studies import strategies as comparison
from studies import strategy_settings as settings_study
from studies import table
from studies.catalogue import EXPERIMENTS, PUBLISHED_EPOCHS, USUAL_VARIANTS, VARIANTS
from studies.graph_commands import graph_memory, graphs
from studies.paper import plan_runs, run_experiment
from studies.runs import ROOT, PlannedRun, result_of
from studies.scale_tables import scale_report
from studies.structure_commands import NAMES as STRUCTURE
from studies.structure_commands import structure_emergence, structure_freeze, structure_reset, structure_robustness

app = typer.Typer(
    help="Repeat runs over seeds and settings and write tables. Without a sub-command: repeat.", no_args_is_help=True
)

Seeds = Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ... of each variant; repetitions where there are folds.")]
Runs = Annotated[Path, typer.Option(help="Where the run folders go; finished ones are not repeated.")]
Output = Annotated[Path | None, typer.Option(help="Markdown file to write.")]
Log = Annotated[Path, typer.Option("--output", help="Markdown file; finished runs are kept beside it as .jsonl.")]
Epochs = Annotated[int, typer.Option(min=1, help="Epochs of every run.")]
Threads = Annotated[int, typer.Option(min=0, help="Threads of every run; 0 for all cores.")]

for command in (graphs, graph_memory, structure_reset, structure_robustness, structure_emergence, structure_freeze):
    app.command()(command)


def main() -> None:
    """Entry point; a configuration in the place of a sub-command means ``repeat``."""
    if len(sys.argv) > 1 and sys.argv[1] not in {
        "repeat",
        "paper",
        "feature-selection",
        "scale",
        "strategies",
        "strategy-settings",
        "patterns",
        "recurrent",
        "graphs",
        "graph-memory",
        "shifts",
        *STRUCTURE,
        "--help",
    }:
        sys.argv.insert(1, "repeat")
    app()


@app.command()
def repeat(
    config: Annotated[Path, typer.Argument(help="A configuration, such as jobs/fashion_mnist.toml.")],
    variant: Annotated[
        list[str],
        typer.Option(
            help="'NAME: RANKS SECTION.KEY=VALUE ...', such as 'two ranks: 2 training.epochs=30'; repeatable."
        ),
    ],
    seeds: Seeds = 3,
    runs: Runs = Path("runs/experiments"),
    output: Output = None,
) -> None:
    """Run every variant of one configuration with every seed."""
    _check_output(output)
    rows, all_done = [], True
    for text in variant:
        name, n_ranks, settings = _parse_variant(text)
        folder = runs.resolve() / config.stem / name.replace(" ", "-")
        results = [
            result_of(
                PlannedRun(
                    config.resolve(), (*settings, f"training.seed={seed}"), n_ranks, folder / f"seed-{seed}", seed
                )
            )
            for seed in range(seeds)
        ]
        all_done = all_done and None not in results
        rows.append(table.row(name, results))
        print(rows[-1], flush=True)
    seeds_named = f"seeds 0 to {seeds - 1}"
    lines = [f"# {config.name}, {seeds_named}", "", *table.head("seed"), *rows, *table.foot(seeds_named)]
    _finish([*lines, "", "Variants:", "", *(f"    {text}" for text in variant)], output, all_done=all_done)


@app.command()
def paper(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[EXPERIMENT]...", help=f"Of {', '.join(EXPERIMENTS)}; all by default."),
    ] = None,
    variants: Annotated[str, typer.Option(help=f"With commas between them, of: {', '.join(VARIANTS)}.")] = ",".join(
        USUAL_VARIANTS
    ),
    seeds: Seeds = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of every run.")] = PUBLISHED_EPOCHS,
    ranks: Annotated[int, typer.Option(min=2, help="Ranks of the parallel variants, a server included.")] = 3,
    runs: Runs = Path("runs/paper"),
    output: Output = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands only.")] = False,
) -> None:
    """The experiments of Curci, Mocanu, Pechenizkiy 2021 and ours beside them; missing data sets are made."""
    _check_output(output)
    names = _known(experiments or list(EXPERIMENTS), EXPERIMENTS, "experiment")
    chosen = _known(re.split(r"[,\s]+", variants.strip(", ")), VARIANTS, "variant")
    arguments = (seeds, epochs, ranks, runs.resolve())
    if dry_run:
        for name in names:
            for variant in chosen:
                print("\n".join(str(run) for run in plan_runs(EXPERIMENTS[name], VARIANTS[variant], *arguments)))
        return
    output = None if output is None else output.resolve()
    os.chdir(ROOT)  # where data/ is looked for
    lines, all_done = ["# The experiments of the paper", ""], True
    for name in names:
        section, is_done = run_experiment(EXPERIMENTS[name], chosen, *arguments)
        lines, all_done = [*lines, *section], all_done and is_done
        if output is not None:
            output.write_text("\n".join(lines) + "\n")
    _finish(lines, output, all_done=all_done)


@app.command()
def feature_selection(
    data_sets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATA SET]...", help=f"Of {', '.join(selection.TASKS)}; all by default."),
    ] = None,
    output: Output = None,
) -> None:
    """A fixed classifier on the features that a sparse network, two tests and a forest select; same folds."""
    _check_output(output)
    names = _known(data_sets or list(selection.TASKS), selection.TASKS, "data set")
    lines = selection.head()
    for part in selection.study(names):
        lines += part
        print("\n".join(part), flush=True)
        _finish(lines, output, all_done=True)


@app.command()
def strategies(
    output: Log,
    data: Annotated[str, typer.Option(help="With commas between them.")] = ",".join(comparison.DATA_SETS),
    densities: Annotated[str, typer.Option(help="Likewise.")] = ",".join(map(str, comparison.DENSITIES)),
    names: Annotated[str, typer.Option("--strategies", help="Likewise.")] = ",".join(comparison.ROWS),
    seeds: Seeds = 3,
    epochs: Epochs = 50,
    threads: Threads = 0,
    runs: Runs = Path("runs/strategies"),
) -> None:
    """Accuracy and time of every evolution strategy at several densities; what is finished is not repeated."""
    study = comparison.Study(
        _known(data.split(","), comparison.DATA_SETS, "data set"),
        [float(text) for text in densities.split(",")],
        _known(names.split(","), comparison.ROWS, "strategy"),
        seeds,
        epochs,
        threads,
        runs.resolve(),
    )
    _carry_out(comparison, study, output)


@app.command()
def strategy_settings(
    output: Log,
    data: Annotated[str, typer.Option(help="With commas between them.")] = ",".join(settings_study.DATA_SETS),
    densities: Annotated[str, typer.Option(help="Likewise.")] = ",".join(map(str, settings_study.DENSITIES)),
    names: Annotated[str, typer.Option("--strategies", help="Likewise.")] = ",".join(settings_study.CANDIDATES),
    seeds: Seeds = 3,
    epochs: Epochs = 50,
    threads: Threads = 0,
    runs: Runs = Path("runs/strategy_settings"),
) -> None:
    """Learning rate and dropout of strategies at low densities, chosen on a validation part; then tested once."""
    study = settings_study.Study(
        _known(data.split(","), settings_study.DATA_SETS, "data set"),
        [float(text) for text in densities.split(",")],
        _known(names.split(","), settings_study.CANDIDATES, "strategy"),
        seeds,
        epochs,
        threads,
        runs.resolve(),
    )
    _carry_out(settings_study, study, output)


@app.command()
def patterns(
    output: Log,
    data: Annotated[str, typer.Option(help="With commas between them.")] = ",".join(pattern_study.CONFIGS),
    rows: Annotated[str, typer.Option(help="Likewise.")] = ",".join(pattern_study.ROWS),
    seeds: Seeds = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of every run, and of training again.")] = 20,
    threads: Threads = 0,
    runs: Runs = Path("runs/patterns"),
) -> None:
    """Accuracy of patterns N:M beside dense and unstructured networks; what is finished is not repeated."""
    study = pattern_study.Study(
        _known(data.split(","), pattern_study.CONFIGS, "data set"),
        _known(rows.split(","), pattern_study.ROWS, "row"),
        seeds,
        epochs,
        threads,
        runs.resolve(),
    )
    _carry_out(pattern_study, study, output)


@app.command()
def recurrent(
    output: Log,
    data: Annotated[str, typer.Option(help="With commas between them.")] = ",".join(recurrent_study.DATA_SETS),
    rows: Annotated[str, typer.Option(help="Likewise.")] = ",".join(recurrent_study.ROWS),
    seeds: Seeds = 1,
    epochs: Epochs = 10,
    width: Annotated[int, typer.Option(min=16, help="Neurons of the GRU, a multiple of 16.")] = 256,
    threads: Threads = 0,
    runs: Runs = Path("runs/recurrent"),
) -> None:
    """Dense, sparse and block-sparse GRUs on characters and on rows of images; what is finished is not repeated."""
    study = recurrent_study.Study(
        _known(data.split(","), recurrent_study.DATA_SETS, "data set"),
        _known(rows.split(","), recurrent_study.ROWS, "row"),
        seeds,
        epochs,
        width,
        threads,
        runs.resolve(),
    )
    _carry_out(recurrent_study, study, output)


@app.command()
def shifts(
    output: Log,
    data: Annotated[str, typer.Option(help="With commas between them.")] = ",".join(shift_study.DATA_SETS),
    samplings: Annotated[str, typer.Option(help="Likewise.")] = ",".join(shift_study.SAMPLINGS),
    taps: Annotated[str, typer.Option(help="Shares of the taps that exist, likewise.")] = "1.0",
    seeds: Seeds = 3,
    epochs: Epochs = 10,
    threads: Threads = 0,
    images: Annotated[int, typer.Option(min=1, help="Test images that are shifted.")] = 256,
    runs: Runs = Path("runs/shifts"),
) -> None:
    """Accuracy of samplings of images, and consistency under shifts; what is finished is not repeated."""
    study = shift_study.Study(
        _known(data.split(","), shift_study.DATA_SETS, "data set"),
        _known(samplings.split(","), shift_study.SAMPLINGS, "sampling"),
        [float(text) for text in taps.split(",")],
        seeds,
        epochs,
        threads,
        images,
        runs.resolve(),
    )
    _carry_out(shift_study, study, output)


def _carry_out(module: Any, study: Any, output: Path) -> None:
    """Do what a study lacks, and write its report after each run."""
    _check_output(output)
    output = output.resolve()
    os.chdir(ROOT)  # where data/ is looked for
    log, all_done = study.open_log(output.with_suffix(".jsonl")), True
    for is_done in module.do_missing(study, log):
        all_done = all_done and is_done
        _finish(module.report(study, log), output, all_done=True)
    _finish(module.report(study, log), output, all_done=all_done)


@app.command()
def scale(
    configurations: Annotated[
        list[str], typer.Argument(metavar="CONFIG...", help="Such as 'jobs/scale_1m.toml training.batch_size=64'.")
    ],
    steps: Annotated[int, typer.Option(min=1, help="Training steps measured before the topology changes.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads; all cores by default.")] = os.cpu_count() or 1,
    output: Output = None,
) -> None:
    """Cost of networks: construction, steps, evolution, inference, memory, and writing and reading a checkpoint."""
    _check_output(output)
    found: list[dict[str, Any]] = []
    for request in [scaling.Request.parse(text) for text in configurations]:
        found.append({"planned": request.planned()} | request.measured(steps, threads))
        lines = scale_report(found, steps, threads)
        print("\n".join(lines), flush=True)
        _finish(lines, output, all_done=True)


def _parse_variant(text: str) -> tuple[str, int, list[str]]:
    matched = re.fullmatch(r"\s*(.+?)\s*:\s*([1-9]\d*)((?:\s+\S+=\S*)*)\s*", text)
    if matched is None:
        raise typer.BadParameter(f"--variant {text!r}: expected 'NAME: RANKS SECTION.KEY=VALUE ...'")
    return matched[1], int(matched[2]), matched[3].split()


def _known(names: list[str], known: Collection[str], what: str) -> list[str]:
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name}: unknown {what}; known are {', '.join(known)}")
    return list(dict.fromkeys(names))


def _check_output(output: Path | None) -> None:
    if output is not None and not output.resolve().parent.is_dir():
        raise typer.BadParameter(f"--output {output}: no such folder")


def _finish(lines: list[str], output: Path | None, *, all_done: bool) -> None:
    if output is not None:
        output.write_text("\n".join(lines) + "\n")
    if not all_done:
        raise typer.Exit(1)
