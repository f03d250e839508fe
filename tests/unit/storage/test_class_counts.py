"""Labels that are not those that were counted when the file was made are noticed, whoever has loaded them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import DataError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.dataset.class_counts import _covers_once
from hpc_sparse.storage.dataset.file import load_dataset, load_samples


@pytest.fixture
def relabelled(tmp_path: Path, write_golden_samples: Callable[..., None], rewrite: Callable[..., None]) -> Path:
    """A data set of which one training label is another than was counted, with a right checksum."""
    path = tmp_path / "relabelled.h5"
    write_golden_samples(path)
    with h5py.File(path, "r") as file:
        labels = file["train/labels"][:]
    labels[3] = (labels[3] + 1) % 3
    rewrite(path, "train/labels", labels)
    return path


def test_another_label_is_noticed(ctx: ParallelContext, relabelled: Path) -> None:
    message = r"relabelled\.h5: train/labels: \d+ samples of class \d: expected \d+, as in statistics/class_counts"
    with pytest.raises(DataError, match=message):
        load_dataset(ctx, relabelled)
    with pytest.raises(DataError, match=message):
        load_samples(relabelled, "train")
    assert load_samples(relabelled, "test").n_samples == 5


def test_part_of_the_labels_tells_nothing(ctx: ParallelContext, relabelled: Path) -> None:
    assert load_dataset(ctx, relabelled, train=Share(0, 2)).train.n_samples == 6


def test_counts_that_add_up_but_are_others_are_noticed(
    ctx: ParallelContext, tmp_path: Path, write_golden_samples: Callable[..., None], rewrite: Callable[..., Any]
) -> None:
    path = tmp_path / "a.h5"
    write_golden_samples(path)
    with h5py.File(path, "r") as file:
        counts = file["statistics/class_counts"][:]
    rewrite(path, "statistics/class_counts", np.roll(counts, 1, axis=1))
    with pytest.raises(DataError, match=r"a\.h5: train/labels"):
        load_dataset(ctx, path)


@pytest.mark.parametrize(
    ("shards", "expected"),
    [
        ([(0, 3), (3, 7)], True),
        ([(3, 7), (7, 7), (0, 3)], True),
        ([(0, 3), (4, 7)], False),
        ([(0, 3), (2, 7)], False),
        ([(0, 3), (3, 6)], False),
        ([], False),
    ],
)
def test_shards_are_all_rows_only_if_each_row_is_in_one(shards: list[tuple[int, int]], expected: bool) -> None:
    assert _covers_once(shards, 7) == expected
