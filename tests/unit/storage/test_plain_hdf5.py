"""Everything that containers are written with is let through, however many parts they have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS, create_array, set_attribute
from hpc_sparse.storage.container.plain_hdf5 import check_plain, dense


def written(path: Path, *steps: Callable[[h5py.File], None]) -> Path:
    """A file written by the functions that containers are written by."""
    with h5py.File(path, "w", libver=LIBRARY_VERSIONS) as file:
        for step in steps:
            step(file)
    return path


def one_group_each(n_groups: int) -> Callable[[h5py.File], None]:
    def step(file: h5py.File) -> None:
        for number in range(n_groups):
            set_attribute(file, f"layers/{number:04d}", "n_out", 3)

    return step


def attributes(n_attributes: int, text: str = "") -> Callable[[h5py.File], None]:
    def step(file: h5py.File) -> None:
        for number in range(n_attributes):
            set_attribute(file, "/", f"metric.{number}", text or float(number))

    return step


# Around 8 they leave the header, around 45 (or 29) the index gets a second level, at 1000 a third.
@pytest.mark.parametrize("n_groups", [1, 8, 9, 44, 45, 46, 47, 120, 1500])
def test_any_number_of_layers_is_let_through(tmp_path: Path, n_groups: int) -> None:
    check_plain(written(tmp_path / "a.h5", one_group_each(n_groups)))


@pytest.mark.parametrize("n_attributes", [0, 1, 8, 9, 28, 29, 30, 31, 200, 3000])
def test_any_number_of_attributes_is_let_through(tmp_path: Path, n_attributes: int) -> None:
    check_plain(written(tmp_path / "a.h5", attributes(n_attributes)))


# Above 4,096 bytes an attribute has a place of its own, above 65,536 also where there are few of them.
@pytest.mark.parametrize("n_bytes", [1, 4000, 4200, 60_000, 70_000])
@pytest.mark.parametrize("n_attributes", [1, 12])
def test_any_length_of_text_is_let_through(tmp_path: Path, n_bytes: int, n_attributes: int) -> None:
    check_plain(written(tmp_path / "a.h5", attributes(n_attributes, "ü" * (n_bytes // 2) + "x")))


def test_every_type_and_shape_is_let_through(tmp_path: Path) -> None:
    def arrays(file: h5py.File) -> None:
        for dtype in ("u1", "i4", "i8", "u8", "f4", "f8", "S1", "S77"):
            for shape in ((5,), (3, 2), (0,), (0, 4)):
                create_array(file, f"{dtype}/{'x'.join(map(str, shape))}", shape, dtype)
                if 0 not in shape:
                    array = file[f"{dtype}/{'x'.join(map(str, shape))}"]
                    array.id.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros(shape, dtype), array.id.get_type())

    check_plain(written(tmp_path / "a.h5", arrays))


def test_what_was_deleted_leaves_no_trace_that_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", one_group_each(60), attributes(40))
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        for number in range(0, 60, 3):
            del file[f"layers/{number:04d}"]
        for number in range(0, 40, 3):
            del file.attrs[f"metric.{number}"]
    check_plain(path)


def test_every_beginning_of_a_file_is_refused(tmp_path: Path, golden: dict[str, Any]) -> None:
    path = tmp_path / "cut.h5"
    path.write_bytes(golden["SPARSE"].read_bytes())
    for n_bytes in range(path.stat().st_size - 1, -1, -1):
        os.truncate(path, n_bytes)
        with pytest.raises(FileFormatError, match=r"cut\.h5: (superblock|is not an HDF5 file)"):
            check_plain(path)


def test_an_index_as_deep_as_the_format_allows_has_room_for_all_layers() -> None:
    index = dense._Index(None, "", dense.LINKS.record_type, dense.LINKS.record_bytes)  # type: ignore[arg-type]
    assert index._most_below[dense.DEEPEST_INDEX] > 1_000_000
    assert index._most[:2] == [45, 24]
