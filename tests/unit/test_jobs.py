"""Every published configuration loads, names its data set as itself, and takes the variants its comments promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpc_sparse.config import load_config

JOBS = Path(__file__).parents[2] / "jobs"
HIDDEN = {
    "fashion_mnist": (1000, 1000, 1000),
    "cifar10": (4000, 1000, 4000),
    "madelon": (400, 100, 400),
    "higgs": (1000, 1000, 1000),
    "leukemia_like": (27500, 27500),
    "sarcoma": (11000, 11000),
    "arcene": (5000, 5000),
}
VARIANTS = [
    *("network.activation=relu", "parallel.strategy=wassp", "parallel.strategy=wasap"),
    *("importance_pruning.mode=compact", "importance_pruning.mode=released", "data.augmentation=none"),
]


def test_there_is_one_configuration_for_each_experiment() -> None:
    assert {path.stem for path in JOBS.glob("*.toml")} == set(HIDDEN)


@pytest.mark.parametrize("name", HIDDEN)
def test_the_configuration_loads(name: str) -> None:
    config = load_config(JOBS / f"{name}.toml")
    assert config.data.path == f"{name}.h5"
    assert config.network.hidden == HIDDEN[name]
    assert (config.training.epochs, config.optimizer.momentum, config.network.dropout) == (500, 0.9, 0.3)
    assert (config.data.augmentation == "cifar") == (name == "cifar10")


@pytest.mark.parametrize("name", HIDDEN)
def test_the_variants_load(name: str) -> None:
    path = JOBS / f"{name}.toml"
    promised = re.findall(r"--set (\w+\.\w+=\w+)", path.read_text())
    for override in {*VARIANTS, *promised}:
        # Inputs are pruned in this mode only, as the comments say.
        others = ["importance_pruning.mode=compact"] if "input_percentile" in override else []
        assert load_config(path, [*others, override]) != (
            load_config(path, others) if override != "data.augmentation=none" else None
        )
    assert load_config(path, ["importance_pruning.mode=compact", "importance_pruning.input_percentile=10"])
