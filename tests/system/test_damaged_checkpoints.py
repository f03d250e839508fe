"""Damaged checkpoints: passed over by --resume auto with one warning, never lost, and an error where they are meant."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

OPTIONS = ("train", "run.toml", "--set", "checkpoint.keep_last=9", "--output", "run")
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def checkpoint(workplace: Path, epoch: int) -> Path:
    return workplace / f"run/checkpoints/checkpoint-{epoch:06d}.h5"


def weights(path: Path) -> list[bytes]:
    with h5py.File(path, "r") as file:
        return [file[f"layers/{layer}/parameters/weight"][:].tobytes() for layer in range(3)]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_weight(path: Path) -> None:
    with h5py.File(path, "a") as file:
        values = file["layers/1/parameters/weight"][:]
        values.view(np.uint32)[3] ^= np.uint32(1)
        file["layers/1/parameters/weight"][:] = values


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run, write_small_data, run_config) -> Path:
    """A folder with a run of three epochs, each of which left a checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "run.toml").write_text(run_config)
    write_small_data(folder / "data.h5")
    run(*OPTIONS, "--set", "training.epochs=3", cwd=folder)
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "place"))


@pytest.mark.parametrize(("damage", "ranks"), [(cut_off, None), (flip_weight, 2)])
def test_resume_auto_goes_on_from_the_one_before_a_damaged_one(
    place: Path, run, damage: Callable[[Path], None], ranks: int | None
) -> None:
    whole = weights(checkpoint(place, 3))
    damage(checkpoint(place, 3))
    damaged = checkpoint(place, 3).read_bytes()
    partial = place / "run/checkpoints/.checkpoint-000009.h5.0123abcd.partial"
    shutil.copy(checkpoint(place, 2), partial)
    result = run(*OPTIONS, "--set", "training.epochs=3", "--resume", "auto", cwd=place, ranks=ranks)
    warnings = [line for line in result.stderr.splitlines() if "damaged ones were set aside" in line]
    assert len(warnings) == 1
    assert "checkpoint-000003.h5: " in warnings[0]
    assert "resumed after epoch 2" in result.stdout
    if ranks is None:
        assert weights(checkpoint(place, 3)) == whole
    assert (place / "run/checkpoints/checkpoint-000003.h5.damaged").read_bytes() == damaged
    assert not partial.exists()
    lines = (place / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_damaged_ones_do_not_push_out_what_the_run_writes_now(place: Path, run) -> None:
    for epoch in (2, 3):
        checkpoint(place, epoch).write_bytes(b"")
    options = ("--set", "training.epochs=2", "--set", "checkpoint.keep_last=1", "--resume", "auto")
    result = run(*OPTIONS, *options, cwd=place)
    assert "checkpoint-000002.h5: " in result.stderr
    assert "checkpoint-000003.h5: " in result.stderr
    kept = sorted(path.name for path in (place / "run/checkpoints").glob("*.h5"))
    assert kept[-1] == "checkpoint-000002.h5"
    assert len(weights(checkpoint(place, 2))) == 3


def test_without_an_intact_one_the_run_is_refused_and_all_are_named(place: Path, run) -> None:
    for epoch in (1, 2, 3):
        cut_off(checkpoint(place, epoch))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    result = run(*OPTIONS, "--resume", "auto", cwd=place, code=2)
    assert "no checkpoint is intact" in result.stderr
    for epoch in (1, 2, 3):
        assert f"checkpoint-{epoch:06d}.h5: " in result.stderr
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_damaged_one_that_is_named_is_refused(place: Path, run) -> None:
    flip_weight(checkpoint(place, 2))
    result = run(
        *("train", "run.toml", "--set", "training.epochs=3", "--output", "other"),
        *("--resume", checkpoint(place, 2)),
        cwd=place,
        code=2,
    )
    assert "checkpoint-000002.h5: layers/1/parameters/weight: damaged" in result.stderr
    assert not (place / "other").exists()


def test_an_upgraded_file_says_so_and_stays_as_it_is_the_second_time(tmp_path: Path, run) -> None:
    for name in ("checkpoint_v1.h5", "dataset_dense_v1.h5"):
        shutil.copy(GOLDEN / name, tmp_path / name)
    first = run("upgrade", "checkpoint_v1.h5", "dataset_dense_v1.h5", cwd=tmp_path)
    assert "checkpoint_v1.h5: format 1 -> " in first.stdout
    assert "dataset_dense_v1.h5: format 1 -> " in first.stdout
    again = run("upgrade", "checkpoint_v1.h5", cwd=tmp_path)
    assert "checkpoint_v1.h5: is already format " in again.stdout
    assert json.loads(run("info", "checkpoint_v1.h5", "--json", cwd=tmp_path).stdout)["checksums"] == "mixed_word_sum"
    (tmp_path / "foreign.h5").write_text("no")
    assert "foreign.h5" in run("upgrade", "foreign.h5", cwd=tmp_path, code=2).stderr
    assert "expected one" in run("upgrade", "a.h5", "b.h5", "--output", "c.h5", cwd=tmp_path, code=2).stderr
