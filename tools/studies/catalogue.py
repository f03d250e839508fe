"""The experiments of Curci, Mocanu, Pechenizkiy 2021, ours beside them, and the variants of each."""

from __future__ import annotations

from dataclasses import dataclass

PUBLISHED_EPOCHS = 500
FIRST_PRUNING = 200
"""The authors' tau, of 500 epochs."""


@dataclass(frozen=True)
class Experiment:
    """A configuration in ``jobs/`` and how its data set is made.

    Attributes
    ----------
    name : str
        Also of the configuration and of the data set in ``data/``.
    source : str
        File in the folder of foreign data, "" if there is none.
    importing : tuple of str
        Words after ``hpc-sparse data import``; ``{source}`` and ``{target}`` stand for paths.
    n_folds : int
        0, or of the repeated stratified cross-validation that replaces the one division.
    """

    name: str
    source: str
    importing: tuple[str, ...]
    n_folds: int = 0


@dataclass(frozen=True)
class Variant:
    """A variant of an experiment.

    Attributes
    ----------
    name : str
    settings : tuple of str
        ``section.key=value`` each.
    is_parallel : bool
        Whether it runs on several ranks.
    pruning_schedule : tuple of int or None
        Epochs between prunings, percentile, and the last epoch for it, of 500 epochs with the first after 200.
    """

    name: str
    settings: tuple[str, ...] = ()
    is_parallel: bool = False
    pruning_schedule: tuple[int, int, int] | None = None


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("fashion_mnist", "", ("fashion-mnist", "{target}", "--source", "{source}")),
        Experiment("cifar10", "cifar10_jpegq75.npz", ("cifar10", "{source}", "{target}")),
        Experiment("madelon", "madelon.npz", ("npz", "{source}", "{target}", "--title", "Madelon")),
        Experiment("higgs", "higgs_23k.npz", ("npz", "{source}", "{target}", "--title", "Higgs, 23,477 samples")),
        Experiment("leukemia_like", "", ("make-classification", "{target}")),
        Experiment("sarcoma", "nakayama_sarcoma.npz", ("npz", "{source}", "{target}", "--log2"), n_folds=5),
        Experiment("arcene", "arcene.npz", ("npz", "{source}", "{target}"), n_folds=5),
    )
}

COMPACT, RELEASED = ("importance_pruning.mode=compact",), "importance_pruning.mode=released"
ALONE, BY_RANKS = (10, 20, 500), (20, 10, 500)
"""Released schedules of importance pruning: of the sequential code, and of the code for several ranks."""
FIVE_TIMES, INPUTS_ONLY = (10, 20, 250), (10, 0, 250)
"""For neurons that are removed for good: the released schedules would leave next to none."""

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("sequential"),
        Variant("relu", ("network.activation=relu",)),
        Variant("wassp", ("parallel.algorithm=wassp",), is_parallel=True),
        Variant("wasap", ("parallel.algorithm=wasap",), is_parallel=True),
        Variant("local_sgd", ("parallel.algorithm=local_sgd",), is_parallel=True),
        Variant("pruned", COMPACT, pruning_schedule=FIVE_TIMES),
        Variant("pruned_every_20", COMPACT, pruning_schedule=BY_RANKS),
        Variant("pruned_released", (RELEASED,), pruning_schedule=ALONE),
        Variant("pruned_inputs", (*COMPACT, "importance_pruning.input_percentile=40"), pruning_schedule=INPUTS_ONLY),
        Variant("wassp_pruned", ("parallel.algorithm=wassp", *COMPACT), True, FIVE_TIMES),
        Variant("wassp_released", ("parallel.algorithm=wassp", RELEASED), True, BY_RANKS),
        Variant("wasap_pruned", ("parallel.algorithm=wasap", *COMPACT), True, FIVE_TIMES),
        Variant("unaugmented", ("data.augmentation=none",)),
    )
}

USUAL_VARIANTS = ("sequential", "relu", "wassp", "wasap", "pruned", "wasap_pruned")


def settings_of(variant: Variant, n_epochs: int) -> tuple[str, ...]:
    """Settings of a variant; with other than 500 epochs, prunings keep their number and relative times."""
    settings = (f"training.epochs={n_epochs}", *variant.settings)
    if variant.is_parallel:
        settings += ("runtime.oversubscribe=true",)
    if variant.pruning_schedule is None:
        return settings
    every, percentile, until = variant.pruning_schedule
    return (
        *settings,
        f"importance_pruning.after_epoch={_scaled(FIRST_PRUNING, n_epochs)}",
        f"importance_pruning.every_epochs={max(1, _scaled(every, n_epochs))}",
        f"importance_pruning.until_epoch={_scaled(until, n_epochs)}",
        f"importance_pruning.percentile={percentile}",
    )


def _scaled(epochs: int, n_epochs: int) -> int:
    return round(epochs * n_epochs / PUBLISHED_EPOCHS)
