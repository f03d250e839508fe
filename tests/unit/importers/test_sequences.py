"""Samples that are sequences: how imports come to their steps, and what is refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import DataError, FileFormatError
from hpc_sparse.importers.arrays.npy import import_npy
from hpc_sparse.importers.arrays.npz import import_npz
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.storage.dataset.file import load_samples, read_info

VALUES = np.random.default_rng(0).normal(size=(30, 4, 3)).astype(np.float32)
LABELS = np.repeat([0, 1, 2], 10)


@pytest.fixture
def archive(tmp_path):
    np.savez(tmp_path / "in.npz", x_train=VALUES[:20], y_train=LABELS[:20], x_test=VALUES[20:], y_test=LABELS[20:])
    return tmp_path / "in.npz"


def test_arrays_of_three_dimensions_are_sequences_step_by_step(archive, tmp_path):
    info = import_npz(archive, tmp_path / "out.h5")
    assert (info.time_steps, info.n_features) == (4, 12)
    np.testing.assert_array_equal(load_samples(info.path, "test").features.values.reshape(10, 4, 3), VALUES[20:])


def test_an_option_says_otherwise(archive, tmp_path):
    assert import_npz(archive, tmp_path / "out.h5", time_steps=6).time_steps == 6
    assert import_npz(archive, tmp_path / "plain.h5", time_steps=1).time_steps == 1


def test_sources_that_are_read_piece_by_piece_have_steps_too(tmp_path):
    np.save(tmp_path / "x.npy", VALUES.reshape(30, 12))
    np.save(tmp_path / "y.npy", LABELS)
    pair = tmp_path / "x.npy", tmp_path / "y.npy"
    assert import_npy(pair, tmp_path / "one.h5").time_steps == 1
    assert import_npy(pair, tmp_path / "out.h5", options=ImportOptions(time_steps=3)).time_steps == 3
    with pytest.raises(DataError, match=r"time_steps = 5: expected a divisor of the 12 features"):
        import_npy(pair, tmp_path / "wrong.h5", options=ImportOptions(time_steps=5))
    assert not (tmp_path / "wrong.h5").exists()


def test_steps_that_do_not_divide_the_features_are_refused(archive, tmp_path):
    with pytest.raises(DataError, match=r"out\.h5: time_steps = 5: expected a divisor of the 12 features"):
        import_npz(archive, tmp_path / "out.h5", time_steps=5)


def test_a_file_with_such_steps_is_refused(archive, tmp_path):
    path = import_npz(archive, tmp_path / "out.h5").path
    with h5py.File(path, "r+") as file:
        file.attrs["time_steps"] = 7
    with pytest.raises(FileFormatError, match="time_steps = 7: expected a divisor of n_features = 12"):
        read_info(path)
