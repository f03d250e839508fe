"""Data set files are read as they were written, in representative order, and nothing wrong gets in or out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import DataError, FileFormatError, InputError, OutputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.dataset.file import load_dataset, load_samples, read_info
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Samples

WriteSamples = Callable[..., None]


def rows_of(samples: Samples) -> list[tuple[Any, ...]]:
    """Each sample as a tuple: its features and its label."""
    features = samples.features
    if isinstance(features, DenseFeatures):
        table = features.values
    else:
        table = np.zeros((features.n_samples, features.n_features), np.float32)
        table[np.repeat(np.arange(features.n_samples), np.diff(features.indptr)), features.indices] = features.values
    return [(*row, label) for row, label in zip(table.tolist(), samples.labels.tolist(), strict=True)]


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_samples_come_back_in_random_order_for_training_and_as_given_for_testing(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], write_golden_samples: WriteSamples, kind: str
) -> None:
    write_golden_samples(tmp_path / "a.h5", kind)
    dataset = load_dataset(ctx, tmp_path / "a.h5")
    given = rows_of(golden[f"{kind}_samples"](11))
    assert rows_of(dataset.train) != given
    assert sorted(rows_of(dataset.train)) == sorted(given)
    assert rows_of(dataset.test) == rows_of(golden[f"{kind}_samples"](5))
    for part, expected in (("train", dataset.train), ("test", dataset.test)):
        assert rows_of(load_samples(tmp_path / "a.h5", part)) == rows_of(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_share_is_the_rows_of_the_whole_that_it_names(
    ctx: ParallelContext, tmp_path: Path, write_golden_samples: WriteSamples, kind: str
) -> None:
    write_golden_samples(tmp_path / "a.h5", kind)
    whole = load_dataset(ctx, tmp_path / "a.h5")
    for train, test in (
        (Share(1, 3), Share.all()),
        (Share.none(), Share(0, 2)),
        (Share(2, 3), Share(6, 7)),
        (Share.none(), Share.none()),
    ):
        dataset = load_dataset(ctx, tmp_path / "a.h5", train=train, test=test)
        assert rows_of(dataset.train) == rows_of(whole.train)[slice(*train.range(11))]
        assert rows_of(dataset.test) == rows_of(whole.test)[slice(*test.range(5))]
        assert dataset.info == whole.info


def test_the_order_depends_on_the_seed_alone(
    ctx: ParallelContext, tmp_path: Path, write_golden_samples: WriteSamples
) -> None:
    orders = []
    for number, seed in enumerate((1, 1, 2)):
        write_golden_samples(tmp_path / f"{number}.h5", order_seed=seed)
        orders.append(rows_of(load_dataset(ctx, tmp_path / f"{number}.h5").train))
    assert orders[0] == orders[1] != orders[2]


def test_sparse_features_keep_their_types(
    ctx: ParallelContext, tmp_path: Path, write_golden_samples: WriteSamples
) -> None:
    write_golden_samples(tmp_path / "a.h5", "sparse")
    dataset = load_dataset(ctx, tmp_path / "a.h5")
    features = dataset.train.features
    assert isinstance(features, CsrFeatures)
    assert [array.dtype for array in (features.indptr, features.indices, features.values)] == ["i8", "i4", "f4"]
    assert (dataset.mean, dataset.deviation, features.n_features) == (None, None, 9)


def test_info_tells_all_without_reading_features(tmp_path: Path, write_golden_samples: WriteSamples) -> None:
    write_golden_samples(tmp_path / "a.h5", title="Ü", source="s", split="half")
    info = read_info(tmp_path / "a.h5")
    assert (info.title, info.source, info.split) == ("Ü", "s", "half")
    assert (info.n_train, info.n_test, info.n_features, info.n_classes) == (11, 5, 4, 3)
    assert info.class_names == ("round", "kantig", "weiß")
    assert (info.class_counts_train, info.class_counts_test) == ((4, 4, 3), (2, 2, 1))
    assert (info.is_sparse, info.dtype, info.format_version) == (False, "uint8", 2)
    assert info.file_bytes == (tmp_path / "a.h5").stat().st_size


def test_an_existing_file_is_only_replaced_when_told(tmp_path: Path, write_golden_samples: WriteSamples) -> None:
    write_golden_samples(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_golden_samples(tmp_path / "a.h5", "sparse")
    assert (tmp_path / "a.h5").read_bytes() == before
    write_golden_samples(tmp_path / "a.h5", "sparse", overwrite=True)
    assert read_info(tmp_path / "a.h5").is_sparse


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0, 1, 3, 0], np.int32)}, r"train/labels\[2\] = 3: must be >= 0 and < 3"),
        ({"labels": np.zeros(3, np.int32)}, "3 labels: expected 4"),
        ({"features": DenseFeatures(np.full((4, 4), np.nan, np.float32))}, r"features\[0, 0\] = nan"),
        ({"features": DenseFeatures(np.zeros((4, 5), np.uint8))}, "train has 5 dense features, test has 4 dense"),
        ({"features": DenseFeatures(np.zeros((4, 0), np.uint8))}, "4 training samples of 0 features"),
    ],
)
def test_wrong_samples_are_not_written(
    tmp_path: Path, write_golden_samples: WriteSamples, changes: dict[str, Any], message: str
) -> None:
    parts = {"features": DenseFeatures(np.zeros((4, 4), np.uint8)), "labels": np.zeros(4, np.int32)}
    with pytest.raises(DataError, match=message):
        write_golden_samples(tmp_path / "a.h5", train=Samples(**(parts | changes)))
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    ("kind", "name", "array", "error", "message"),
    [
        ("dense", "train/labels", np.full(11, 7, np.int32), DataError, r"train/labels\[0\] = 7"),
        ("dense", "train/labels", np.zeros(10, np.int32), FileFormatError, r"int32\[10\], expected int32\[11\]"),
        ("dense", "test/features", np.zeros((5, 3), np.uint8), FileFormatError, r"expected uint8\[5, 4\]"),
        ("dense", "statistics/mean", np.full(4, np.inf, np.float32), DataError, r"mean\[0\] = inf"),
        ("dense", "statistics/deviation", np.zeros(4, np.float32), DataError, r"deviation\[0\] = 0.0: must be > 0"),
        ("dense", "statistics/class_counts", np.zeros((2, 3), np.int64), FileFormatError, "sum 0: expected 11"),
        ("dense", "class_names", np.array([b"a"]), FileFormatError, "1 class_names: expected n_classes = 3"),
        ("sparse", "train/values", np.full(10, np.nan, np.float32), FileFormatError, r"float32\[10\], expected"),
        ("sparse", "train/values", np.full(12, np.nan, np.float32), DataError, r"train/values\[0\] = nan"),
        ("sparse", "train/indices", np.full(12, 9, np.int32), DataError, "indices: 9 in row"),
        ("sparse", "train/indices", np.full(12, 3, np.int32), DataError, "3 follows 3 in row"),
        (
            "sparse",
            "train/indptr",
            np.full(12, 5, np.int64),
            FileFormatError,
            "from 5 to 5: must run from 0 to 12",
        ),
        ("sparse", "train/indptr", np.array([0, *[12, 3] * 5, 12]), DataError, "indptr: falls from 12 to 3 at row 1"),
    ],
)
def test_wrong_content_is_named(
    ctx: ParallelContext,
    tmp_path: Path,
    write_golden_samples: WriteSamples,
    rewrite: Callable[[Path, str, Any], None],
    kind: str,
    name: str,
    array: Any,
    error: type[InputError],
    message: str,
) -> None:
    path = tmp_path / "wrong.h5"
    write_golden_samples(path, kind)
    rewrite(path, name, array)
    with pytest.raises(error, match=message) as caught:
        load_dataset(ctx, path)
    assert "wrong.h5" in str(caught.value)


def test_a_missing_array_is_named(ctx: ParallelContext, tmp_path: Path, write_golden_samples: WriteSamples) -> None:
    write_golden_samples(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a", libver=LIBRARY_VERSIONS) as file:
        del file["test/labels"]
    with pytest.raises(FileFormatError, match=r"a\.h5: cannot read test/labels"):
        load_dataset(ctx, tmp_path / "a.h5")
