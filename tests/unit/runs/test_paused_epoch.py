"""Sums of an unfinished epoch go by name: a run takes up its own, of any format, and refuses others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path
from hpc_sparse.storage.checkpoint.formats_1_to_3 import SUMS_OF_A_RANK, SUMS_OF_A_SERVER
from hpc_sparse.training.rank_totals import RankTotals
from hpc_sparse.training.served.server_totals import ServerTotals

CTX = ParallelContext.serial(threads=1)
CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [12, 9]
epsilon = 4
[training]
epochs = 2
batch_size = 50
[runtime]
threads = 1
oversubscribe = true
"""


@pytest.fixture
def request_of(tmp_path: Path, write_small_data) -> RunRequest:
    write_small_data(tmp_path / "data.h5")
    (tmp_path / "run.toml").write_text(CONFIG)
    return RunRequest(tmp_path / "run.toml", (), tmp_path / "run", resume="auto")


def pause(request: RunRequest, sums: dict[str, float]) -> Path:
    """Put a checkpoint from within the second epoch, with such sums, in place of the last one."""
    train_run(CTX, request, SilentReporter())
    folder = request.output / "checkpoints"
    state = read_checkpoint(CTX, checkpoint_path(folder, 1 if checkpoint_path(folder, 1).exists() else 2))
    for path in folder.iterdir():
        path.unlink()
    progress = np.array([list(sums.values())], np.float64).reshape(1, len(sums))
    paused = dataclasses.replace(
        state, epoch=1, step=10, step_in_epoch=3, progress=progress, progress_names=tuple(sums)
    )
    path = checkpoint_path(folder, 1, 3)
    write_checkpoint(CTX, path, paused)
    return path


def test_sums_are_found_by_name_in_any_order(request_of):
    own = RankTotals(loss=3.5, n_correct=7.0, train=1.0).to_sums()
    pause(request_of, dict(reversed(own.items())))
    assert train_run(CTX, request_of, SilentReporter())["epochs"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": None}, "progress: sums n_correct, n_grown, .*: expected loss, n_correct, n_grown"),
        ({"sum_0": 1.0}, "progress: sums loss, .*sum_0: expected loss"),
        ({"n_correct": float("nan")}, "progress: n_correct = nan: must be a whole number >= 0"),
        ({"n_bytes": -1.0}, "progress: n_bytes = -1.0: must be a whole number >= 0"),
    ],
)
def test_other_sums_are_refused_with_one_message(request_of, changes, message):
    sums = {name: value for name, value in {**RankTotals().to_sums(), **changes}.items() if value is not None}
    path = pause(request_of, sums)
    with pytest.raises(FileFormatError, match=message) as caught:
        train_run(CTX, request_of, SilentReporter())
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_sums_at_all_are_refused_too(request_of):
    pause(request_of, {})
    with pytest.raises(FileFormatError, match="progress: sums none: expected loss"):
        train_run(CTX, request_of, SilentReporter())


def test_columns_of_old_formats_are_what_they_were():
    assert tuple(RankTotals().to_sums()) == SUMS_OF_A_RANK
    assert tuple(ServerTotals(1, 0.5, 0).to_sums()) == SUMS_OF_A_SERVER


def test_a_server_takes_up_its_sums_by_name_and_no_wrong_counts():
    sums = ServerTotals(3, 0.05, 7, n_discarded=2, n_bytes=1000, train=1.5).to_sums()
    assert ServerTotals.from_sums(dict(reversed(sums.items()))).to_sums() == sums
    for name, value in (("epoch", 0.5), ("staleness_3", -1.0), ("n_changed", float("inf"))):
        with pytest.raises(ValueError, match=f"{name} = {value}: must be a whole number >= 0"):
            ServerTotals.from_sums({**sums, name: value})
    with pytest.raises(ValueError, match="sums none: expected epoch, rate"):
        ServerTotals.from_sums({})


def test_numbers_of_the_old_formats_have_the_names_of_their_width(tmp_path, rewrite_progress):
    for names in (SUMS_OF_A_RANK, SUMS_OF_A_SERVER, ("sum_0", "sum_1", "sum_2")):
        path = rewrite_progress(tmp_path / "old.h5", np.arange(3.0 * len(names)).reshape(3, -1))
        found = read_checkpoint(CTX, path)
        assert found.progress_names == names
        assert found.progress is not None
        assert found.progress[1, 1] == len(names) + 1


@pytest.fixture
def rewrite_progress():
    """A golden file of format 3 with another array of sums."""
    from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
    from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum

    def rewrite(path: Path, progress: np.ndarray) -> Path:
        path.write_bytes((Path(__file__).parents[2] / "golden/checkpoint_v3.h5").read_bytes())
        with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
            del file["progress"]
            file["progress"] = progress
            file["progress"].attrs[WORD_SUM] = word_sum(progress)
        return path

    return rewrite
