"""Every published configuration loads, names its data set as itself, and takes the variants its comments promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpc_sparse.config import load_config
from hpc_sparse.evolution import make_updater
from hpc_sparse.evolution.strategies import ChtUpdater
from hpc_sparse.network.optimizers.adamw import Adamw
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.weight_average import WeightAverage

JOBS = Path(__file__).parents[3] / "jobs"
HIDDEN = {
    "fashion_mnist": (1000, 1000, 1000),
    "cifar10": (4000, 1000, 4000),
    "madelon": (400, 100, 400),
    "higgs": (1000, 1000, 1000),
    "leukemia_like": (27500, 27500),
    "sarcoma": (11000, 11000),
    "arcene": (5000, 5000),
}
SCALES = {
    "scale_1m": (100_000, 1.0),
    "scale_5m": (500_000, 1.0),
    "scale_10m": (1_000_000, 1.0),
    "scale_50m": (5_000_000, 1.0),
    "scale_275m": (27_500_000, 0.5),
    "scale_1b_connections": (500_000, 104),
}
"""Width of each of the ten hidden layers, and epsilon."""
VARIANTS = [
    *("network.activation=relu", "parallel.algorithm=wassp", "parallel.algorithm=wasap"),
    *("importance_pruning.mode=compact", "importance_pruning.mode=released", "data.augmentation=none"),
]


def test_there_is_one_configuration_for_each_experiment() -> None:
    others = {"cora_dcnn", "kjv_characters", "news20", "patterns_fashion_mnist", "rows_fashion_mnist"}
    others |= {"polyphase_cifar10", "polyphase_fashion_mnist"}
    assert {path.stem for path in JOBS.glob("*.toml")} == {*HIDDEN, *SCALES, *others}


def test_the_network_of_a_pattern_loads() -> None:
    config = load_config(JOBS / "patterns_fashion_mnist.toml")
    assert (config.data.path, config.network.connections, config.network.pattern) == (
        "fashion_mnist.h5",
        "n_of_m",
        "2:4",
    )


def test_the_network_of_a_graph_loads() -> None:
    path = JOBS / "cora_dcnn.toml"
    config = load_config(path)
    assert (config.training.loss, config.training.optimizer, config.data.path) == ("hinge", "adagrad", "cora.h5")
    (layers,) = re.findall(r"--set '(network.layers=.+)'", path.read_text())
    assert load_config(path, [layers]).network.hidden == (4 * 1433,)


def test_the_wide_network_that_learns_loads_with_its_variant() -> None:
    path = JOBS / "news20.toml"
    config = load_config(path)
    assert (config.data.path, config.network.hidden) == ("news20_bydate_65536.h5", (1_000_000,))
    (override,) = re.findall(r"--set (\w+\.\w+=\S+)", path.read_text())
    assert load_config(path, [override]).network.hidden == (200_000,)


def test_the_example_of_blocks_loads() -> None:
    config = load_config(JOBS / "examples" / "blocks.toml")
    assert config.network.layer(1).unit == (16, 16)
    assert config.block_pruning.is_on
    assert config.group_lasso.is_on


def test_the_example_of_soft_rules_loads() -> None:
    config = load_config(JOBS / "examples" / "cht_soft.toml")
    assert (config.network.random_pattern, config.network.rewired_share) == ("small_world", 0.25)
    assert config.evolution.density_schedule == "sigmoid"
    assert make_updater(config.evolution) == ChtUpdater("path", "soft", "soft")
    assert WeightAverage.from_config(config) == WeightAverage("snt", 46, 50)


def test_the_example_of_a_network_in_parts_loads() -> None:
    config = load_config(JOBS / "examples" / "network_in_parts.toml")
    assert config.parallel.model == 2


def test_the_example_of_rare_classes_loads() -> None:
    config = load_config(JOBS / "examples" / "rare_classes.toml")
    assert (config.training.class_weight, config.training.early_stopping) == ("balanced", 20)
    assert make_optimizer(config) == Adamw(beta2=0.99, weight_decay=0.1)
    assert config.importance_pruning.needs_samples


def test_the_rows_of_images_load_with_their_variants() -> None:
    path = JOBS / "rows_fashion_mnist.toml"
    config = load_config(path)
    assert (config.data.path, config.network.hidden) == ("rows_fashion_mnist.h5", (512,))
    assert config.network.reads_sequences
    for override in re.findall(r"--set (\w+\.\w+=\w+)", path.read_text()):
        assert load_config(path, [override]) != config


def test_the_characters_of_a_text_load_with_their_variants() -> None:
    path = JOBS / "kjv_characters.toml"
    config = load_config(path)
    assert (config.data.path, config.network.gives_sequences) == ("kjv_characters.h5", True)
    for override in re.findall(r"--set (\w+\.\w+=[\w.]+)", path.read_text()):
        assert load_config(path, [override]) != config


@pytest.mark.parametrize(("name", "n_colours"), [("polyphase_fashion_mnist", 1), ("polyphase_cifar10", 3)])
def test_the_convolutions_load_and_fit_their_images(name: str, n_colours: int) -> None:
    network = load_config(JOBS / f"{name}.toml").network
    assert network.image(32 * 32 * n_colours) == (32, 32)
    network.check_places(32 * 32)
    assert [layer.kind for layer in network.layers or ()] == [*["convolution"] * 4, "sparse"]


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


@pytest.mark.parametrize("name", SCALES)
def test_a_huge_network_has_ten_layers_behind_the_newsgroups(name: str) -> None:
    path = JOBS / f"{name}.toml"
    config = load_config(path)
    width, epsilon = SCALES[name]
    assert (config.network.hidden, config.network.epsilon) == ((width,) * 10, epsilon)
    assert config.data.path == "news20_bydate_65536.h5"
    for override in re.findall(r"--set (\w+\.\w+=\w+)", path.read_text()):
        assert load_config(path, [override]) != config
    assert f"jobs/train.sbatch jobs/{name}.toml" in path.read_text()
    assert f"hpc-sparse plan jobs/{name}.toml" in path.read_text()
