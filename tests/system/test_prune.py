"""Pruning a checkpoint by command, alone and on two ranks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.config import load_config
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.training.replica_states import (
    initial_replica,
    replica_to_states,
)

RANKS = [None, 2]


@pytest.fixture
def stored(workplace: Path) -> Path:
    """The work place with a checkpoint ``net.h5`` that fits its data."""
    ctx, config = ParallelContext.serial(threads=1), load_config(workplace / "run.toml")
    dataset = load_dataset(ctx, workplace / "data.h5")
    layers = replica_to_states(initial_replica(config, dataset.info))
    statistics = statistics_arrays(dataset.mean, dataset.deviation)
    checkpoint = Checkpoint(config.to_toml(), 1, 21, 1, layers, {"epoch": 1.0}, (1, 0.5), statistics)
    write_checkpoint(ctx, workplace / "net.h5", checkpoint)
    return workplace


@pytest.mark.parametrize("ranks", RANKS)
def test_a_checkpoint_is_pruned_evaluated_and_described(stored, run, ranks):
    arguments = ["net.h5", "--percentile", 30, "--inputs", 20, "--data", "data.h5", "--json"]
    result = json.loads(run("prune", *arguments, cwd=stored, ranks=ranks).stdout)
    before, after = result["sizes"]
    assert (result["output"], result["percentile"], result["input_percentile"]) == ("net-pruned.h5", 30, 20)
    assert before["widths"] == [30, 24, 17, 3]
    assert (np.array(after["widths"][:-1]) < before["widths"][:-1]).all()
    evaluated = json.loads(run("evaluate", "net-pruned.h5", "data.h5", "--json", cwd=stored, ranks=ranks).stdout)
    assert evaluated["test_accuracy"] == after["test_accuracy"]
    assert evaluated["test_loss"] == pytest.approx(after["test_loss"], rel=1e-12)
    about = json.loads(run("info", "net-pruned.h5", "--json", cwd=stored).stdout)
    assert about["n_connections"] == after["connections"]
    assert [layer["n_in"] for layer in about["layers"]] == after["widths"][:-1]
    assert about["reduced_layers"] == [0, 1, 2]
    assert about["metrics"]["pruning_percentile"] == 30


def test_every_number_of_ranks_writes_the_same_network(stored, run):
    sizes = []
    for ranks, output in ((None, "alone.h5"), (2, "two.h5"), (3, "three.h5")):
        run("prune", "net.h5", "--percentile", 40, "--output", output, cwd=stored, ranks=ranks)
        about = json.loads(run("info", output, "--json", cwd=stored).stdout)
        sizes.append([about[name] for name in ("n_neurons", "n_connections", "layers", "metrics")])
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.parametrize("ranks", RANKS)
def test_the_curve_is_shown_with_what_a_target_takes(stored, run, ranks):
    arguments = ["net.h5", "--target-connections", 100, "--data", "data.h5", "--curve"]
    plain = run("prune", *arguments, "--output", "small.h5", cwd=stored, ranks=ranks).stdout.splitlines()
    (before,) = (line for line in plain if " before " in line)
    assert "30-24-17-3" in before
    curve = plain[[line.startswith("curve") for line in plain].index(True) + 1 :]
    assert [int(line.split()[0]) for line in curve] == list(range(0, 100, 5))
    again = run("prune", "net.h5", "--curve", "--data", "data.h5", "--json", cwd=stored, ranks=ranks).stdout
    points = json.loads(again)["curve"]
    about = json.loads(run("info", "small.h5", "--json", cwd=stored).stdout)
    assert about["n_connections"] <= 100 < points[0]["connections"]


@pytest.mark.parametrize("ranks", RANKS)
def test_nothing_is_overwritten_and_nothing_senseless_done(stored, run, ranks):
    before = {path.name: path.read_bytes() for path in stored.iterdir()}
    cases = (
        (["--percentile", 10, "--output", "net.h5"], "net.h5: exists already"),
        (["--percentile", 10, "--target-connections", 50], "exclude each other"),
        (["--target-connections", 1], "ask for at least as many"),
        (["--curve"], "--data"),
        ([], "nothing to do"),
    )
    # On two ranks, one case of what is there already and one of what excludes itself.
    for arguments, message in cases if ranks is None else cases[:2]:
        result = run("prune", "net.h5", *arguments, cwd=stored, ranks=ranks, code=2)
        assert message in result.stderr
        assert result.stderr.count("hpc-sparse:") == 1
    assert {path.name: path.read_bytes() for path in stored.iterdir()} == before
