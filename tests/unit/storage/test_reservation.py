"""Room on disk that is taken before HDF5 needs it."""

from __future__ import annotations

import errno
import os

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.container import reservation
from hpc_sparse.storage.container.file import CHECKPOINT_KIND, create_container
from hpc_sparse.storage.container.reservation import METADATA_BYTES, Reservation


def write(path, n_values):
    with create_container(ParallelContext.serial(1), path, CHECKPOINT_KIND, "serial") as writer:
        for name in ("a", "b/c"):
            values = np.arange(n_values, dtype=np.float32)
            writer.create(name, values.shape, values.dtype)
            writer.write(name, 0, values)


def test_room_grows_and_is_really_taken(tmp_path):
    path = tmp_path / "file"
    path.touch()
    room = Reservation(path)
    room.grow(100_000)
    room.grow(50_000)
    assert path.stat().st_size == 150_000
    assert path.stat().st_blocks * 512 >= 150_000


def test_what_is_written_already_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"written")
    Reservation(path).grow(5000)
    assert path.read_bytes() == b"written" + bytes(4993)


@pytest.mark.parametrize("n_values", [0, 1, 70_001])
def test_a_container_is_no_longer_than_hdf5_says(tmp_path, n_values):
    write(tmp_path / "file.h5", n_values)
    n_bytes = (tmp_path / "file.h5").stat().st_size
    assert n_bytes < 8 * n_values + METADATA_BYTES // 8
    with h5py.File(tmp_path / "file.h5") as file:
        assert file["b/c"][()].tolist() == list(range(n_values))
        assert file.id.get_filesize() == n_bytes
    os.truncate(tmp_path / "file.h5", n_bytes - 1)
    with pytest.raises(OSError, match="truncated"):
        h5py.File(tmp_path / "file.h5")


def test_where_there_is_no_room_nothing_is_written_and_what_was_there_stays(tmp_path, small_disk):
    write(tmp_path / "file.h5", 5)
    before = (tmp_path / "file.h5").read_bytes()
    with pytest.raises(OutputError, match=r"file\.h5: cannot be written: File too large"), small_disk(4 << 20):
        write(tmp_path / "file.h5", 500_000)
    assert (tmp_path / "file.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["file.h5"]


def test_a_disk_that_is_full_from_the_beginning_is_found_before_hdf5_opens_the_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reservation.os, "posix_fallocate", refuse)
    monkeypatch.setattr("hpc_sparse.storage.container.writer.open_writer", lambda *_: pytest.fail("opened"))
    with pytest.raises(OutputError, match="No space left on device"):
        write(tmp_path / "file.h5", 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_reservations_is_written_to_all_the_same(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(reservation.os, "posix_fallocate", refuse)
    write(tmp_path / "file.h5", 5)
    with h5py.File(tmp_path / "file.h5") as file:
        assert file["a"][()].tolist() == [0, 1, 2, 3, 4]
