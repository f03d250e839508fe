"""Runs that stop and go on: bit by bit the uninterrupted run, and nothing lost or counted twice."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_sparse.monitor.metrics import CLOCK_FIELDS


def metrics(folder: Path) -> list[dict[str, float]]:
    """The epochs of a run, times aside."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in CLOCK_FIELDS} for line in lines]


def arrays(checkpoint: Path) -> dict[str, bytes]:
    """Every array below ``layers`` of a checkpoint."""
    found = {}
    with h5py.File(checkpoint, "r") as file:
        file["layers"].visititems(
            lambda name, item: found.update({name: item[:].tobytes()}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize("topology", ["shared", "independent"])
@pytest.mark.parametrize("ranks", [None, 2])
def test_a_resumed_run_is_bit_by_bit_the_uninterrupted_one(workplace, run, ranks, topology):
    options = ("--set", f"parallel.replica_topology={topology}", "--set", "optimizer.warmup_epochs=3")
    four = ("--set", "training.epochs=4")
    run("train", "run.toml", *options, *four, "--output", "whole", cwd=workplace, ranks=ranks)
    run("train", "run.toml", *options, "--output", "parts", cwd=workplace, ranks=ranks)
    result = run(
        "train", "run.toml", *options, *four, "--output", "parts", "--resume", "auto", cwd=workplace, ranks=ranks
    )
    assert "resumed after epoch 2" in result.stdout
    assert metrics(workplace / "whole") == metrics(workplace / "parts")
    whole, parts = (arrays(workplace / name / "checkpoints/checkpoint-000004.h5") for name in ("whole", "parts"))
    assert whole == parts
    summaries = [json.loads((workplace / name / "summary.json").read_text()) for name in ("whole", "parts")]
    for name in ("test_accuracy", "best_test_accuracy", "best_test_epoch", "epochs", "n_connections"):
        assert summaries[0][name] == summaries[1][name]


def test_a_run_goes_on_with_another_number_of_ranks_and_another_back_end(workplace, run):
    go_on = ("train", "run.toml", "--output", "run", "--resume", "auto")
    run("train", "run.toml", "--output", "run", cwd=workplace, ranks=2)
    run(*go_on, "--set", "training.epochs=3", "--set", "runtime.hdf5=serial", cwd=workplace, ranks=3)
    run(*go_on, "--set", "training.epochs=4", cwd=workplace)
    assert [line["epoch"] for line in metrics(workplace / "run")] == [1, 2, 3, 4]
    assert json.loads((workplace / "run/summary.json").read_text())["n_ranks"] == 1


def test_resuming_a_complete_run_changes_nothing_and_tells_its_result_again(workplace, run):
    first = run("train", "run.toml", "--output", "run", cwd=workplace)
    files = {path: path.read_bytes() for path in (workplace / "run").rglob("*") if path.is_file()}
    again = run("train", "run.toml", "--output", "run", "--resume", "auto", cwd=workplace, ranks=2)
    assert {path: path.read_bytes() for path in (workplace / "run").rglob("*") if path.is_file()} == files
    assert first.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]


def test_resume_auto_starts_a_run_that_has_no_checkpoint_yet(workplace, run):
    run("train", "run.toml", "--output", "run", "--resume", "auto", cwd=workplace)
    expected = metrics(workplace / "run")
    # As left by a run that was killed in its second epoch, before its first checkpoint.
    shutil.rmtree(workplace / "run/checkpoints")
    (workplace / "run/checkpoints").mkdir()
    (workplace / "run/summary.json").unlink()
    lines = (workplace / "run/metrics.jsonl").read_text().splitlines(keepends=True)
    (workplace / "run/metrics.jsonl").write_text(lines[0])
    run("train", "run.toml", "--output", "run", "--resume", "auto", cwd=workplace, ranks=1)
    assert metrics(workplace / "run") == expected


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_killed_run_goes_on_from_its_last_checkpoint(workplace, launch, run, kill_job, ranks):
    # Every kill finds the run somewhere else; so many epochs that it is not over before.
    n_epochs = 100_000
    start = ("train", "run.toml", "--output", "run", "--resume", "auto")
    process = launch(*start, "--set", f"training.epochs={n_epochs}", cwd=workplace, ranks=ranks)
    deadline = time.monotonic() + 60
    while len(list((workplace / "run/checkpoints").glob("checkpoint-*.h5"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill_job(process)
    n_done = int(checkpoints(workplace / "run")[-1][len("checkpoint-") : -len(".h5")])
    assert n_done < n_epochs
    run(*start, "--set", f"training.epochs={n_done + 1}", cwd=workplace, ranks=ranks)
    run("train", "run.toml", "--set", f"training.epochs={n_done + 1}", "--output", "whole", cwd=workplace, ranks=ranks)
    assert metrics(workplace / "run") == metrics(workplace / "whole")
    assert not list((workplace / "run").rglob("*.partial"))


def test_the_last_checkpoints_and_the_best_are_kept(workplace, run):
    options = ("--set", "checkpoint.keep_last=2", "--set", "training.epochs=6", "--set", "optimizer.learning_rate=0.1")
    run("train", "run.toml", *options, "--output", "run", cwd=workplace)
    best = 1 + int(np.argmax([line["test_accuracy"] for line in metrics(workplace / "run")]))
    assert best < 5
    assert checkpoints(workplace / "run") == [f"checkpoint-{epoch:06d}.h5" for epoch in (best, 5, 6)]


def test_a_run_branches_off_from_a_checkpoint_into_a_new_folder(workplace, run):
    options = ("--set", "training.epochs=4", "--set", "checkpoint.keep_last=9")
    run("train", "run.toml", *options, "--output", "run", cwd=workplace)
    files = {path: path.read_bytes() for path in (workplace / "run").rglob("*") if path.is_file()}
    from_two = ("--resume", "run/checkpoints/checkpoint-000002.h5")
    run("train", "run.toml", *options, *from_two, "--output", "branch", cwd=workplace)
    assert metrics(workplace / "branch") == metrics(workplace / "run")
    assert checkpoints(workplace / "branch") == ["checkpoint-000003.h5", "checkpoint-000004.h5"]
    whole, branch = (arrays(workplace / name / "checkpoints/checkpoint-000004.h5") for name in ("run", "branch"))
    assert whole == branch
    # In its own folder that would leave later checkpoints of another course.
    result = run("train", "run.toml", *options, *from_two, "--output", "run", cwd=workplace, code=2)
    assert "checkpoint-000004.h5" in result.stderr
    assert {path: path.read_bytes() for path in (workplace / "run").rglob("*") if path.is_file()} == files


def test_a_lone_checkpoint_file_is_enough_to_go_on(trained, run):
    shutil.move(trained / "run/checkpoints/checkpoint-000002.h5", trained / "kept.h5")
    shutil.rmtree(trained / "run")
    for epochs, resume in ((3, "kept.h5"), (4, "auto")):
        run(
            *("train", "run.toml", "--output", "on", "--set", f"training.epochs={epochs}", "--resume", resume),
            cwd=trained,
        )
    assert [line["epoch"] for line in metrics(trained / "on")] == [3, 4]
    assert json.loads((trained / "on/summary.json").read_text())["epochs"] == 4


def test_a_lone_checkpoint_without_epochs_left_is_refused(trained, run):
    shutil.copy(trained / "run/checkpoints/checkpoint-000002.h5", trained / "moved.h5")
    result = run("train", "run.toml", "--resume", "moved.h5", "--output", "new", cwd=trained, code=2)
    assert "training.epochs = 2: moved.h5 has 2 epochs behind it" in result.stderr
    assert not (trained / "new").exists()


def test_a_run_goes_on_with_other_settings_and_says_so_but_not_on_other_features(trained, run, write_small_data):
    go_on = ("train", "run.toml", "--output", "run", "--resume", "auto", "--set", "training.epochs=3")
    result = run(*go_on, "--set", "data.standardize=false", cwd=trained, code=2)
    assert "data.standardize = False" in result.stderr
    write_small_data(trained / "other.h5", n_train=200)
    result = run(*go_on, "--set", "data.path=other.h5", cwd=trained, code=2)
    assert "other.h5: the mean of its features is not the one stored in" in result.stderr
    result = run(*go_on, "--set", "training.batch_size=7", cwd=trained)
    assert "continuing with other settings: training.batch_size 16 -> 7" in result.stderr
    assert len(metrics(trained / "run")) == 3


def test_a_run_without_a_checkpoint_is_not_replaced_by_another_network(trained, run):
    shutil.rmtree(trained / "run/checkpoints")
    (trained / "run/summary.json").unlink()
    before = (trained / "run/metrics.jsonl").read_text()
    again = ("train", "run.toml", "--output", "run", "--resume", "auto")
    result = run(*again, "--set", "network.hidden=[9]", cwd=trained, code=2)
    assert "network.hidden = (9,)" in result.stderr
    assert (trained / "run/metrics.jsonl").read_text() == before
    assert "no checkpoint yet, starting again" in run(*again, cwd=trained).stderr
