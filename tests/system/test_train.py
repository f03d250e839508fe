"""Training by the command line, on real and synthetic data, and the run folder it leaves."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

METRIC_TYPES = {
    "epoch": int,
    "train_loss": float,
    "train_accuracy": float,
    "test_loss": float,
    "test_accuracy": float,
    "n_connections": int,
    "connections_changed": int,
    "train_seconds": float,
    "evolve_seconds": float,
    "sync_seconds": float,
    "sync_bytes": int,
    "evaluate_seconds": float,
    "learning_rate": float,
    "n_neurons": int,
    "phase": int,
    "n_discarded": int,
    "staleness_counts": list,
    "wait_share": float,
    "parts_test_accuracy": list,
    "rank_seconds": dict,
}
SUMMARY_TYPES = {
    "test_accuracy": float,
    "best_test_accuracy": float,
    "best_test_epoch": int,
    "test_loss": float,
    "n_neurons": int,
    "n_connections": int,
    "n_effective_neurons": int,
    "n_effective_connections": int,
    "n_parameters": int,
    "density": float,
    "epochs": int,
    "n_ranks": int,
    "n_threads": int,
    "ranks_per_network": int,
    "initial_topologies": list,
    "instructions": str,
    "tile_width": int,
    "optimizer_states": dict,
    "median_train_seconds": float,
    "total_seconds": float,
    "peak_rss_bytes": int,
    "training_rate": float,
    "versions": dict,
}
CONFIG_KEYS = {
    "data": {"path"},
    "network": {"hidden", "epsilon", "activation", "alpha", "initializer", "dropout"},
    "training": {"epochs", "batch_size", "seed", "loss"},
    "optimizer": {"learning_rate", "momentum", "nesterov", "weight_decay", "schedule"},
    "evolution": {"strategy", "drop_fraction", "every_epochs"},
    "importance_pruning": {"mode", "after_epoch", "every_epochs", "until_epoch", "percentile", "input_percentile"},
    "block_pruning": {"every_steps", "after_epoch", "ramp", "end", "block_scale"},
    "group_lasso": {"strength"},
    "parallel": {
        "algorithm",
        "sync_every_steps",
        "replica_topology",
        "velocity_at_sync",
        "phase2_share",
        "max_staleness",
    },
    "checkpoint": {"every_epochs", "keep_last"},
    "runtime": {"threads", "hdf5", "log", "time_limit", "stop_within"},
}


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def check_run_folder(folder: Path, n_epochs: int) -> dict[str, Any]:
    """Check that a run folder is complete and everything in it is of the documented type; its summary."""
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "summary.json",
    ]
    config = tomllib.loads((folder / "config.toml").read_text())
    assert config.keys() == CONFIG_KEYS.keys()
    for section, keys in CONFIG_KEYS.items():
        assert keys <= config[section].keys(), section
    lines = metrics(folder)
    assert [line["epoch"] for line in lines] == list(range(1, n_epochs + 1))
    for line in lines:
        assert {name: type(value) for name, value in line.items()} == METRIC_TYPES
    summary = json.loads((folder / "summary.json").read_text())
    assert {name: type(value) for name, value in summary.items()} == SUMMARY_TYPES
    assert summary["test_accuracy"] == lines[-1]["test_accuracy"]
    assert summary["best_test_accuracy"] == max(line["test_accuracy"] for line in lines)
    assert summary["epochs"] == n_epochs
    assert summary["n_connections"] == lines[-1]["n_connections"]
    assert (folder / "checkpoints" / f"checkpoint-{n_epochs:06d}.h5").is_file()
    assert not [path for path in folder.rglob("*") if path.suffix in {".tmp", ".partial"}]
    return summary


@pytest.mark.parametrize("ranks", [None, 2])
@pytest.mark.slow
def test_the_fashion_mnist_job_learns_and_leaves_a_complete_run_folder(fashion_mnist, run, tmp_path, ranks):
    output = tmp_path / "run"
    result = run(
        *("train", ROOT / "jobs" / "fashion_mnist.toml", "--set", "training.epochs=2", "--output", output),
        cwd=fashion_mnist,
        ranks=ranks,
        timeout=240,
    )
    summary = check_run_folder(output, 2)
    assert summary["test_accuracy"] > 0.7
    assert summary["n_ranks"] == (ranks or 1)
    assert summary["n_neurons"] == 784 + 3 * 1000 + 10
    assert summary["n_parameters"] == summary["n_connections"] + 3 * 1000 + 10
    # Three Erdos-Renyi layers of 20 (n_in + n_out) connections and a dense output layer.
    assert summary["n_connections"] == pytest.approx(20 * (1784 + 2000 + 2000) + 10_000, rel=0.02)
    assert summary["training_rate"] == pytest.approx(
        summary["n_connections"] * 60_000 / summary["median_train_seconds"]
    )
    assert f"{summary['test_accuracy']:.2%}" in result.stdout
    assert result.stdout.count("epoch ") >= 2


def test_overrides_and_options_are_followed_and_written_down(workplace, run):
    result = run(
        *("train", "run.toml", "--output", "deep/er/run", "--progress", "none"),
        *("--set", "network.hidden=[5]", "--set", "training.epochs=1", "--set", "network.activation=relu"),
        *("--set", "network.density=0.5", "--set", 'training.loss="mse"'),
        cwd=workplace,
        command=(sys.executable, "-m", "hpc_sparse"),
    )
    assert result.stdout == ""
    check = tomllib.loads((workplace / "deep/er/run/config.toml").read_text())
    assert check["network"]["hidden"] == [5]
    assert check["network"]["density"] == 0.5
    assert "epsilon" not in check["network"]
    assert check["network"]["activation"] == "relu"
    assert check["training"]["loss"] == "mse"
    assert json.loads((workplace / "deep/er/run/summary.json").read_text())["n_neurons"] == 30 + 5 + 3


def test_the_stored_configuration_repeats_the_run_and_the_folder_is_named_after_the_configuration(workplace, run):
    run("train", "run.toml", cwd=workplace)
    shutil.copy(workplace / "runs/run/config.toml", workplace / "again.toml")
    run("train", "again.toml", cwd=workplace)
    first, second = ([line["test_loss"] for line in metrics(workplace / "runs" / name)] for name in ("run", "again"))
    assert first == second
    assert (workplace / "runs/run/config.toml").read_text() == (workplace / "runs/again/config.toml").read_text()


@pytest.mark.parametrize("progress", ["live", "lines"])
def test_progress_is_shown_live_or_line_by_line_by_one_rank(workplace, run, progress):
    result = run("train", "run.toml", "--progress", progress, cwd=workplace, ranks=2, COLUMNS="120", TERM="xterm")
    assert result.stdout.count("test loss") == 2
    assert ("\x1b[" in result.stdout) == (progress == "live")
    assert "steps/s" in result.stdout or progress == "lines"


def test_the_data_set_is_found_beside_the_configuration_or_in_the_data_folders(workplace, run, tmp_path):
    home = workplace / "home"
    (home / "data").mkdir(parents=True)
    (workplace / "run.toml").rename(home / "run.toml")
    found = ["--set", "training.epochs=1", "--output"]
    run("train", "home/run.toml", *found, "a", cwd=workplace, HPC_SPARSE_DATA=str(workplace))
    (workplace / "data.h5").rename(home / "data" / "data.h5")
    run("train", "run.toml", *found, "b", cwd=home, HPC_SPARSE_DATA=str(workplace))
    assert (home / "b" / "summary.json").is_file()


def test_a_data_set_without_test_samples_is_trained_on_and_its_missing_values_are_valid_json(
    workplace: Path, run: Any, write_small_data: Callable[..., Path]
) -> None:
    (workplace / "data.h5").unlink()
    write_small_data(workplace / "data.h5", n_test=0)
    for options in ([], ["--resume", "auto", "--set", "training.epochs=3"]):
        run("train", "run.toml", "--output", "run", *options, cwd=workplace)
    texts = [(workplace / "run" / name).read_text() for name in ("metrics.jsonl", "summary.json")]
    texts.append(run("evaluate", "run/checkpoints/checkpoint-000003.h5", "data.h5", "--json", cwd=workplace).stdout)
    assert "NaN" not in "".join(texts)
    assert json.loads(texts[1])["test_accuracy"] is None
    assert json.loads(texts[2])["test_loss"] is None


@pytest.mark.slow
def test_real_wide_sparse_text_is_imported_and_trained_on(real_data, run, tmp_path):
    run("data", "import", "npz", real_data / "news20_bydate_65536.npz", "news20.h5", cwd=tmp_path)
    (tmp_path / "run.toml").write_text(
        '[data]\npath = "news20.h5"\n[network]\nhidden = [64]\nepsilon = 5\ndropout = 0.0\n'
        "[training]\nepochs = 3\nbatch_size = 32\n[optimizer]\nlearning_rate = 0.005\n"
        '[parallel]\nreplica_topology = "independent"\nsync_every_steps = 20\nlearning_rate_scaling = "none"\n'
    )
    run("train", "run.toml", "--output", "run", cwd=tmp_path, ranks=2)
    summary = check_run_folder(tmp_path / "run", 3)
    assert summary["n_neurons"] == 65_536 + 64 + 20
    # Guessing one of the 20 groups is right in 5 % of the cases.
    assert summary["test_accuracy"] > 0.15


def test_madelon_is_imported_and_trained_on_with_one_output(real_data, run, tmp_path):
    run("data", "import", "npz", real_data / "madelon.npz", "madelon.h5", cwd=tmp_path)
    (tmp_path / "run.toml").write_text(
        '[data]\npath = "madelon.h5"\n[network]\nhidden = [100, 40]\nepsilon = 10\nalpha = 0.5\n'
        '[training]\nepochs = 3\nbatch_size = 32\nloss = "binary_cross_entropy"\n'
    )
    run("train", "run.toml", "--output", "run", cwd=tmp_path)
    assert check_run_folder(tmp_path / "run", 3)["n_neurons"] == 500 + 100 + 40 + 1
    lines = metrics(tmp_path / "run")
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert np.isfinite([line["test_loss"] for line in lines]).all()
