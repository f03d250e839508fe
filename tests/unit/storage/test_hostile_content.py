"""Plain HDF5 with wrong content, checksums right: refused with the file, the thing, its value, what was expected."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import InputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.contents import MOST_CONFIG_BYTES
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import WORD_SUM, word_sum
from hpc_sparse.storage.dataset.file import load_dataset, load_samples

Rewrite = Callable[[Path, str, Any], None]
F4, I4 = np.float32, np.int32
LAST, FIRST = np.iinfo(np.int64).max, np.iinfo(np.int64).min

CHECKPOINT_ARRAYS = [
    ("config", np.array([b"a", b"b"]), r"config: is \|S1\[2\], expected text\[1\]"),
    ("config", np.array([[b"a"]]), r"config: is \|S1\[1, 1\], expected text\[1\]"),
    ("config", np.array([7]), r"config: is int64\[1\], expected text\[1\]"),
    ("config", np.array([b"\xff\xfe"]), r"config: b'\\xff\\xfe': expected text in UTF-8"),
    ("config", np.array([b"#" * (MOST_CONFIG_BYTES + 1)]), "config: 1048577 bytes of text: expected at most 1048576"),
    ("statistics/mean", np.array([0, 1, 2, np.nan, 4], F4), r"statistics/mean\[3\] = nan: must be finite"),
    ("statistics/deviation", np.array([1, 1, 1, 0, 1], F4), r"statistics/deviation\[3\] = 0.0: must be > 0"),
    ("statistics/deviation", np.array([1, -1, 1, 1, 1], F4), r"statistics/deviation\[1\] = -1.0: must be > 0"),
    ("layers/0000/indptr", np.array([0, 2, 2, LAST, 6]), "indptr: falls from 9223372036854775807 to 6 at row 3"),
    ("layers/0000/indptr", np.array([0, 2, FIRST, 5, 6]), "indptr: falls from 2 to -9223372036854775808 at row 1"),
    ("layers/0000/indptr", np.array([-1, 2, 2, 5, 6]), "indptr: runs from -1 to 6: must run from 0 to 6"),
    ("layers/0000/indptr", np.array([0, 2, 2, 5, LAST]), "must run from 0 to 6"),
    ("layers/0000/indices", np.array([4, 0, 1, 2, 3, 0], I4), "indices: 0 follows 4 in row 0: must be sorted"),
    ("layers/0000/indices", np.array([0, 4, 1, 1, 3, 0], I4), "indices: 1 follows 1 in row 2: must be sorted"),
    ("layers/0000/indices", np.array([0, 5, 1, 2, 3, 0], I4), "indices: 5 in row 0: must be >= 0 and < 5"),
    ("layers/0000/indices", np.array([-(2**31), 4, 1, 2, 3, 0], I4), "indices: -2147483648 in row 0"),
    ("layers/0000/weight", np.array([0, 0, np.nan, 0, 0, 0], F4), r"layers/0000/weight\[2\] = nan: must be finite"),
    ("layers/0000/bias", np.array([0, 0, 0, -np.inf], F4), r"layers/0000/bias\[3\] = -inf: must be finite"),
    ("layers/0001/weight_velocity", np.full(12, np.inf, F4), r"weight_velocity\[0\] = inf: must be finite"),
    ("layers/0000/weight", np.zeros((2, 3), F4), r"layers/0000/weight: is float32\[2, 3\], expected float32\[6\]"),
    ("layers/0000/weight", np.zeros(6), r"layers/0000/weight: is float64\[6\], expected float32\[6\]"),
    ("layers/0000/weight", np.zeros((1,) * 32, F4), r"expected float32\[6\]"),
    ("layers/0002/weight", np.zeros(6, F4), "attribute .n_out. of layers/0002: missing or damaged"),
]
CHECKPOINT_ATTRIBUTES = [
    ("metrics", "metric.test_accuracy", "0.75", "metrics: metric.test_accuracy = '0.75': expected a number"),
    ("/", "best_value", "high", "/: best_value = 'high': expected a number"),
    ("/", "epoch", np.uint64(2**64 - 1), "/: epoch = 18446744073709551615: expected an integer >= 0"),
    ("/", "epoch", 1.0, "/: epoch = 1.0: expected an integer >= 0"),
    ("/", "n_ranks", 0, "/: n_ranks = 0: expected an integer >= 1"),
    ("/", "format_version", np.nan, "format_version = nan"),
    ("/", "format_version", 0, "format_version = 0"),
    ("/", "format", "x" * 5000, 'format = "x{200}[.]{3}": expected'),
    ("/", "format", "\x1b[2J\n", r'format = "\\x1b\[2J\\n": expected'),
    ("layers/0000", "n_out", 2**31, "5 x 2147483648 neurons: expected at most 2147483647"),
    ("layers/0000", "n_out", 2**63, "n_out = 9223372036854775808: expected an integer >= 1"),
    ("layers/0000", "n_connections", 2**62, r"expected int32\[4611686018427387904\]"),
    ("layers/0000/weight", WORD_SUM, np.inf, f"layers/0000/weight: {WORD_SUM} = inf: expected an integer"),
    ("layers/0000/weight", WORD_SUM, "7", f"layers/0000/weight: {WORD_SUM} = '7': expected an integer"),
    ("layers/0000/weight", WORD_SUM, np.uint64(7), "layers/0000/weight: damaged"),
]
DATA_ARRAYS = [
    ("DENSE", "class_names", np.array([[b"a", b"b", b"c"]]), r"class_names: is \|S1\[1, 3\], expected text\[any\]"),
    ("DENSE", "class_names", np.arange(3), r"class_names: is int64\[3\], expected text\[any\]"),
    ("DENSE", "class_names", np.array([b"a", b"b", b"\xff"]), r"class_names: b'\\xff': expected text in UTF-8"),
    ("DENSE", "class_names", np.array([b"a", b"b"]), "2 class_names: expected n_classes = 3"),
    ("DENSE", "statistics/class_counts", np.full((2, 3), LAST), "class_counts of train: sum 27670116110564327421"),
    ("DENSE", "train/features", np.zeros((11, 4)), "features: dtype float64: expected uint8 or float32"),
    ("SPARSE", "train/indptr", np.full(12, LAST), "train/indptr: runs from 9223372036854775807 to"),
    (
        "SPARSE",
        "train/indptr",
        np.array([0, FIRST, *[2] * 9, 12]),
        "train: indptr: falls from 0 to -9223372036854775808",
    ),
    ("SPARSE", "train/indptr", np.array([0, LAST, *[2] * 9, 12]), "train: indptr: falls from 9223372036854775807 to 2"),
]


@pytest.fixture
def spoilt(tmp_path: Path, golden: dict[str, Any]) -> Callable[[str], Path]:
    """A copy of a golden file, to be spoilt."""
    return lambda name: Path(shutil.copy(golden[name], tmp_path / "wrong.h5"))


def assert_refused(message: str, *reads: Callable[[], Any]) -> None:
    for read in reads:
        with pytest.raises(InputError, match=message) as caught:
            read()
        assert "wrong.h5" in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("name", "array", "message"), CHECKPOINT_ARRAYS)
def test_a_wrong_array_of_a_checkpoint_is_named(
    ctx: ParallelContext, spoilt: Callable[[str], Path], rewrite: Rewrite, name: str, array: Any, message: str
) -> None:
    path = spoilt("CHECKPOINT")
    rewrite(path, name, array)
    assert_refused(message, lambda: read_checkpoint(ctx, path), lambda: read_replicas(path))


@pytest.mark.parametrize(("owner", "name", "value", "message"), CHECKPOINT_ATTRIBUTES)
def test_a_wrong_attribute_of_a_checkpoint_is_named(
    ctx: ParallelContext, spoilt: Callable[[str], Path], owner: str, name: str, value: Any, message: str
) -> None:
    path = spoilt("CHECKPOINT")
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        if isinstance(value, str):
            file[owner].attrs.create(name, value.encode(), dtype=h5py.string_dtype("utf-8", len(value.encode())))
        else:
            file[owner].attrs[name] = value
    assert_refused(message, lambda: read_checkpoint(ctx, path), lambda: read_replicas(path))


@pytest.mark.parametrize(("kind", "name", "array", "message"), DATA_ARRAYS)
def test_a_wrong_array_of_a_data_set_is_named(
    ctx: ParallelContext,
    spoilt: Callable[[str], Path],
    rewrite: Rewrite,
    kind: str,
    name: str,
    array: Any,
    message: str,
) -> None:
    path = spoilt(kind)
    rewrite(path, name, array)
    assert_refused(message, lambda: load_dataset(ctx, path), lambda: load_samples(path, "train"))


def test_one_statistic_without_the_other_is_refused(ctx: ParallelContext, spoilt: Callable[[str], Path]) -> None:
    path = spoilt("CHECKPOINT")
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        del file["statistics/mean"]
    assert_refused("only one of mean and deviation: expected both or none", lambda: read_checkpoint(ctx, path))


def test_a_group_in_place_of_an_array_is_refused(ctx: ParallelContext, spoilt: Callable[[str], Path]) -> None:
    path = spoilt("CHECKPOINT")
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        del file["layers/0001/bias"]
        file.create_group("layers/0001/bias")
    assert_refused("layers/0001/bias: is not an array", lambda: read_checkpoint(ctx, path))


def test_numbers_of_ranks_and_replicas_cost_nothing_before_they_are_checked(
    ctx: ParallelContext, spoilt: Callable[[str], Path]
) -> None:
    for name in ("n_ranks", "n_replicas"):
        path = spoilt("REPLICAS")
        with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
            file.attrs[name] = 2**62
            del file["progress"]
            file.create_dataset("progress", (2**62, 0), np.float64)
            file["progress"].attrs[WORD_SUM] = word_sum(np.empty((0, 0)))
        assert_refused("expected no length above", lambda: read_checkpoint_info(path), lambda: read_replicas(path))  # noqa: B023
