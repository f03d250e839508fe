"""The standard experiments: which runs they are made of, and the table of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studies import table
from studies.catalogue import PUBLISHED_EPOCHS, VARIANTS, Experiment, Variant, settings_of
from studies.data_sets import make_data_set
from studies.folds import make_folds
from studies.runs import ROOT, PlannedRun, result_of


def config_of(experiment: Experiment) -> Path:
    """The experiment's configuration."""
    return ROOT / "jobs" / f"{experiment.name}.toml"


def plan_runs(
    experiment: Experiment, variant: Variant, n_seeds: int, n_epochs: int, n_ranks: int, runs: Path
) -> list[PlannedRun]:
    """The runs of one variant: one per seed, or one per fold of as many repetitions; makes no data sets."""
    config, ranks = config_of(experiment), n_ranks if variant.is_parallel else 1
    ranked = f"-{ranks}-ranks" if ranks > 1 else ""
    folder = runs / f"{experiment.name}-{n_epochs}-epochs" / f"{variant.name}{ranked}"
    planned = []
    for seed in range(n_seeds):
        settings = (*settings_of(variant, n_epochs), f"training.seed={seed}")
        if not experiment.n_folds:
            planned.append(PlannedRun(config, settings, ranks, folder / f"seed-{seed}", seed))
        for fold in range(experiment.n_folds):
            data = f"data.path=folds/{experiment.name}-{seed}-{fold}.h5"
            place = folder / f"repetition-{seed}-fold-{fold}"
            planned.append(PlannedRun(config, (*settings, data), ranks, place, seed))
    return planned


def run_experiment(
    experiment: Experiment, variants: Sequence[str], n_seeds: int, n_epochs: int, n_ranks: int, runs: Path
) -> tuple[list[str], bool]:
    """Make the data, do the runs that are missing; gives the lines of a Markdown section and whether all succeeded."""
    if experiment.n_folds:
        make_folds(experiment, n_seeds)
        group, units = "repetition", f"{n_seeds} x {experiment.n_folds} folds (stratified, repeated)"
    else:
        make_data_set(experiment, config_of(experiment))
        group, units = "seed", f"seeds 0 to {n_seeds - 1}"
    rows, all_done = [], True
    for name in variants:
        planned = plan_runs(experiment, VARIANTS[name], n_seeds, n_epochs, n_ranks, runs)
        results = [result_of(run) for run in planned]
        all_done = all_done and None not in results
        rows.append(table.row(name, results))
        print(f"{experiment.name}: {rows[-1]}", flush=True)
    title = f"## {experiment.name}, {n_epochs} epochs"
    return [title, "", *table.head(group), *rows, *table.foot(units), "", *_settings(variants, n_epochs)], all_done


def _settings(variants: Sequence[str], n_epochs: int) -> list[str]:
    """Settings of each variant beyond the configuration."""
    lines = ["Variants:", ""]
    lines += [f"    {name}: {' '.join(settings_of(VARIANTS[name], n_epochs))}" for name in variants]
    is_scaled = n_epochs != PUBLISHED_EPOCHS and any(VARIANTS[name].pruning_schedule for name in variants)
    if is_scaled:
        schedules = f"The schedules of importance pruning are for {PUBLISHED_EPOCHS} epochs (first after 200)"
        lines += ["", f"{schedules}; here they are scaled to {n_epochs} epochs."]
    return [*lines, ""]
