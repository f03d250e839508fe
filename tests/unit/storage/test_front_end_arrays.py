"""Arrays of front ends in checkpoints: where they are, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint

ARRAYS = {
    "standardize/mean": np.arange(5, dtype=np.float32),
    "standardize/deviation": np.ones(5, np.float32),
    "toy/largest": np.arange(3.0),
}


@pytest.fixture
def path(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> Path:
    """A checkpoint with these arrays."""
    write_checkpoint(ctx, tmp_path / "c.h5", dataclasses.replace(golden["checkpoint"](), front_end=ARRAYS))
    return tmp_path / "c.h5"


def test_every_array_is_by_its_name(ctx: ParallelContext, path: Path) -> None:
    with h5py.File(path) as file:
        assert sorted(file["front_end"]) == ["standardize", "toy"]
        assert sorted(file["front_end/standardize"]) == ["deviation", "mean"]
        np.testing.assert_array_equal(file["front_end/toy/largest"], ARRAYS["toy/largest"])
    found = read_checkpoint(ctx, path)
    assert found.front_end.keys() == ARRAYS.keys()
    np.testing.assert_array_equal(found.mean, ARRAYS["standardize/mean"])
    np.testing.assert_array_equal(found.deviation, ARRAYS["standardize/deviation"])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("front_end/toy/largest", np.array([1.0, np.nan]), r"front_end/toy/largest\[1\] = nan"),
        ("front_end/toy/largest", np.array([b"text"]), r"front_end/toy/largest: .*: expected numbers"),
        ("front_end/toy", np.zeros(3), "front_end/toy: is an array: expected a group"),
        ("front_end", np.zeros(3), "front_end: is an array: expected a group"),
        (
            "front_end/standardize/mean",
            np.zeros(4, np.float32),
            r"standardize/mean: is float32\[4\], expected float32\[5\]",
        ),
        ("front_end/standardize/deviation", np.zeros(5, np.float32), r"deviation\[0\] = 0.0: must be > 0"),
    ],
)
def test_wrong_arrays_are_refused(
    ctx: ParallelContext, path: Path, rewrite: Callable[[Path, str, Any], None], name: str, array: Any, message: str
) -> None:
    rewrite(path, name, array)
    with pytest.raises(FileFormatError, match=message):
        read_checkpoint(ctx, path)


def test_one_of_the_statistics_alone_is_refused(ctx: ParallelContext, path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["front_end/standardize/mean"]
    with pytest.raises(FileFormatError, match="only one of mean and deviation: expected both or none"):
        read_checkpoint(ctx, path)
