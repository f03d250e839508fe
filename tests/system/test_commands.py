"""The reading and importing commands, alone and on two ranks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

HPC_SPARSE = str(Path(sys.executable).with_name("hpc-sparse"))
RANKS = [None, 2]
CHECKPOINT = "run/checkpoints/checkpoint-000002.h5"
COMMANDS = [
    *([], ["train"], ["plan"], ["config"], ["evaluate"], ["prune"], ["info"], ["check"], ["data"]),
    *(["data", "import"], ["data", "import", "fashion-mnist"], ["data", "import", "idx"], ["data", "import", "npz"]),
    *(["data", "import", "cifar10"], ["data", "import", "make-classification"]),
    *(["model", *name] for name in ([], ["export"], ["import"], ["prune-pattern"], ["generate"])),
    *(["data", "import", kind] for kind in ("csv", "parquet", "svmlight", "npy", "mat", "hdf5", "graph", "text")),
]


def strict_json(text: str) -> Any:
    """Parse JSON as its standard has it: without NaN and infinity."""

    def fail(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=fail)


def test_every_command_explains_itself(run, tmp_path):
    for command in COMMANDS:
        result = run(*command, "--help", cwd=tmp_path)
        assert " ".join(["Usage: hpc-sparse", *command]) in result.stdout
        assert result.stderr == ""


SMALL_PROBLEM = ("make-classification", *("--samples", 60, "--features", 30, "--informative", 9, "--redundant", 0))
PROCESSES = {
    "train": (("train", "run.toml", "--output", "again"), ("train", "nowhere.toml")),
    "plan": (("plan", "run.toml"), ("plan", "nowhere.toml")),
    "config": (("config",), ("config", "more")),
    "evaluate": (("evaluate", CHECKPOINT, "data.h5"), ("evaluate", CHECKPOINT, CHECKPOINT)),
    "prune": (("prune", CHECKPOINT, "--percentile", 10), ("prune", CHECKPOINT)),
    "info": (("info", CHECKPOINT), ("info", "run.toml")),
    "upgrade": (("upgrade", CHECKPOINT), ("upgrade", "run.toml")),
    "report": (("report", "run"), ("report", "nowhere")),
    "model": (("model", "export", CHECKPOINT, "net.npz"), ("model", "export", "run.toml", "net.npz")),
    "analyze": (("analyze", "summary", CHECKPOINT), ("analyze", "summary", "data.h5")),
    "data import": (("data", "import", *SMALL_PROBLEM, "new.h5"), ("data", "import", "npz", "no.npz", "a.h5")),
}
"""Arguments for each command, or group of commands: one call that works and one that is refused."""


@pytest.mark.parametrize("command", PROCESSES)
def test_every_command_is_a_process_that_ends_well_or_with_one_message(trained, run, command):
    good, refused = PROCESSES[command]
    assert run(*good, cwd=trained, apart=True).stdout
    result = run(*refused, cwd=trained, apart=True, code=2)
    assert result.stderr.count("hpc-sparse: ") + result.stderr.count("Usage: hpc-sparse") == 1
    assert "Traceback" not in result.stderr


def test_the_command_and_the_module_are_the_same(run, tmp_path):
    version = run("--version", cwd=tmp_path, apart=True).stdout
    assert version.startswith("hpc-sparse 0.")
    assert run("--version", cwd=tmp_path, command=(sys.executable, "-m", "hpc_sparse")).stdout == version


@pytest.mark.parametrize("ranks", RANKS)
def test_evaluating_the_last_checkpoint_gives_the_last_test_accuracy(trained, run, ranks):
    checkpoint = "run/checkpoints/checkpoint-000002.h5"
    result = run("evaluate", checkpoint, "data.h5", "--json", cwd=trained, ranks=ranks)
    found = strict_json(result.stdout)
    last = json.loads((trained / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert found["test_accuracy"] == last["test_accuracy"]
    assert found["test_loss"] == pytest.approx(last["test_loss"], rel=1e-6)
    assert (found["epoch"], found["n_samples"], found["checkpoint"]) == (2, 97, checkpoint)
    plain = run("evaluate", checkpoint, "data.h5", cwd=trained, ranks=ranks).stdout
    assert str(last["test_accuracy"]) in plain


@pytest.mark.parametrize("ranks", RANKS)
def test_info_describes_data_sets_and_checkpoints(trained, run, ranks):
    about_data = strict_json(run("info", "data.h5", "--json", cwd=trained, ranks=ranks).stdout)
    assert about_data["kind"] == "data set"
    assert (about_data["n_train"], about_data["n_test"], about_data["n_features"]) == (331, 97, 30)
    checkpoint = "run/checkpoints/checkpoint-000002.h5"
    about_run = strict_json(run("info", checkpoint, "--json", cwd=trained, ranks=ranks).stdout)
    summary = json.loads((trained / "run/summary.json").read_text())
    for name in ("n_neurons", "n_connections", "n_parameters", "density"):
        assert about_run[name] == summary[name]
    assert about_run["kind"] == "checkpoint"
    assert about_run["config"] == (trained / "run/config.toml").read_text()
    assert [(layer["n_in"], layer["n_out"]) for layer in about_run["layers"]] == [(30, 24), (24, 17), (17, 3)]
    assert sum(layer["n_connections"] for layer in about_run["layers"]) == about_run["n_connections"]
    assert about_run["layers"][0]["activation"] == "all_relu"
    last = json.loads((trained / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert about_run["metrics"]["test_accuracy"] == last["test_accuracy"]
    for name in ("best_test_accuracy", "best_test_epoch"):
        assert about_run[name] == summary[name]


@pytest.mark.parametrize("ranks", RANKS)
def test_info_is_readable_for_people(trained, run, ranks):
    plain = run("info", "run/checkpoints/checkpoint-000002.h5", cwd=trained, ranks=ranks).stdout
    assert "30 -> 24 all_relu" in plain
    assert f"{'':20}epochs = 2\n" in plain
    assert "class 0, class 1, class 2\n" in run("info", "data.h5", cwd=trained, ranks=ranks).stdout


def test_info_ends_quietly_when_nobody_reads_on(trained, run):
    script = '"$0" info run/checkpoints/checkpoint-000002.h5 | true; exit "${PIPESTATUS[0]}"'
    result = run(cwd=trained, command=("bash", "-c", script, HPC_SPARSE))
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.parametrize("ranks", [None, 3])
@pytest.mark.parametrize("arguments", [["info", "--nonsense", "x"], ["nonsense"]])
def test_a_wrong_command_line_is_reported_once(run, tmp_path, ranks, arguments):
    result = run(*arguments, cwd=tmp_path, ranks=ranks, apart=True, code=2)
    assert result.stderr.count("Usage: hpc-sparse") == 1


@pytest.mark.parametrize("ranks", [None, 1, 3])
def test_check_tries_everything_and_leaves_nothing(run, tmp_path, ranks):
    report = strict_json(run("check", "--json", cwd=tmp_path, ranks=ranks).stdout)
    assert list(tmp_path.iterdir()) == []
    assert report["collective_write"].startswith("works")
    assert "compiled kernels" in report["kernel_cache"]
    assert report["numba_threading_layer"] in {"omp", "tbb", "workqueue"}
    assert len(report["ranks"]) == (ranks or 1)
    assert ("mpi4py" in report["mpi"]) == (ranks is not None)
    assert report["hdf5_backend"] == ("mpio" if ranks == 3 else "serial")
    assert (report["mpi_thread_level"] == "-") == (ranks is None)


def test_check_reports_what_does_not_work_and_ends_well(run, tmp_path):
    (tmp_path / "file").touch()
    cache = {"XDG_CACHE_HOME": str(tmp_path / "file"), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    report = strict_json(run("check", "--json", cwd=Path("/proc"), code=1, **cache).stdout)
    assert report["collective_write"].startswith("failed: ")


def test_check_names_the_folder_of_the_compiled_kernels(run, tmp_path):
    own = tmp_path / "numba"
    report = strict_json(run("check", "--json", cwd=tmp_path, NUMBA_CACHE_DIR=str(own)).stdout)
    assert report["kernel_cache"].startswith(f"{own}: works, ")
    assert list(own.rglob("*.nbc"))


def test_check_says_what_happens_without_a_cache_folder(run, tmp_path):
    (tmp_path / "file").touch()
    report = strict_json(run("check", "--json", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / "file")).stdout)
    assert "cannot be written" in report["kernel_cache"]
    assert "beside their source" in report["kernel_cache"]


@pytest.mark.parametrize("ranks", RANKS)
def test_archives_are_imported_whole_with_a_split_that_a_seed_decides(run, tmp_path, ranks):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)).astype(np.float32), np.arange(50) % 3
    np.savez(tmp_path / "whole.npz", x=x, y=y)
    imported = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("data", "import", "npz", "whole.npz", f"{name}.h5", "--seed", seed, cwd=tmp_path, ranks=ranks)
        with h5py.File(tmp_path / f"{name}.h5", "r") as file:
            parts = file["train/features"][:], file["test/features"][:]
        assert sorted(np.concatenate(parts)[:, 0]) == sorted(x[:, 0])
        imported.append(parts[1])
    np.testing.assert_array_equal(imported[0], imported[1])
    assert not np.array_equal(imported[0], imported[2])
    shown = run("data", "import", "npz", "whole.npz", "a.h5", "--overwrite", "--title", "tiny", cwd=tmp_path).stdout
    assert "tiny" in shown


def test_fashion_mnist_is_imported_as_published(fashion_mnist, run):
    about = strict_json(run("info", "data/fashion_mnist.h5", "--json", cwd=fashion_mnist).stdout)
    assert (about["n_train"], about["n_test"], about["n_features"], about["n_classes"]) == (60_000, 10_000, 784, 10)
    assert about["class_counts_train"] == [6000] * 10
    assert about["dtype"] == "uint8"
