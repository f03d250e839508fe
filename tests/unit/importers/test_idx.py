"""IDX folders are imported as they are, plain or gzipped; anything else is refused with the file's name."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.errors import DataError, OutputError
from hpc_sparse.importers.images import idx
from hpc_sparse.storage.dataset.file import load_samples

NAMES = {"images": "{}-images-idx3-ubyte", "labels": "{}-labels-idx1-ubyte"}


def idx_bytes(array: Any) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def images(n_images: int) -> Any:
    return np.arange(n_images * 6).reshape(n_images, 2, 3)


@pytest.fixture(params=["plain", "gzip"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for prefix, n_images in (("train", 7), ("t10k", 4)):
        for kind, array in (("images", images(n_images)), ("labels", np.arange(n_images) % 3 + 5)):
            name = NAMES[kind].format(prefix)
            if request.param == "gzip":
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
            else:
                (tmp_path / name).write_bytes(idx_bytes(array))
    return tmp_path


def test_images_become_rows_and_labels_are_numbered(folder: Path) -> None:
    info = idx.import_idx(folder, folder / "d.h5", title="tiny")
    assert (info.n_train, info.n_test, info.n_features, info.dtype) == (7, 4, 6, "uint8")
    assert info.class_names == ("5", "6", "7")
    test = load_samples(folder / "d.h5", "test")
    np.testing.assert_array_equal(test.features.values, images(4).reshape(4, 6))  # type: ignore[union-attr]
    np.testing.assert_array_equal(test.labels, [0, 1, 2, 0])


def test_a_fashion_title_gives_the_classes_their_names(folder: Path) -> None:
    info = idx.import_idx(folder, folder / "d.h5", title="Fashion-MNIST (part)")
    assert info.class_names[5] == "Sandal"
    assert info.class_counts_test == (0, 0, 0, 0, 0, 2, 1, 1, 0, 0)


def test_a_missing_debian_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "FASHION_MNIST_FOLDER", tmp_path / "nowhere")
    with pytest.raises(DataError, match="install the Debian package dataset-fashion-mnist"):
        idx.import_fashion_mnist(None, tmp_path / "d.h5")


def test_an_existing_file_is_not_overwritten(folder: Path) -> None:
    (folder / "d.h5").write_text("precious")
    with pytest.raises(OutputError, match=r"d\.h5: exists already"):
        idx.import_idx(folder, folder / "d.h5", title="tiny")
    assert (folder / "d.h5").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", None, "no file train-images: expected one of train-images-idx3-ubyte, "),
        ("train-images-idx3-ubyte", b"", "begins with : expected an IDX file"),
        ("train-images-idx3-ubyte", b"\x89PNG....", "begins with 89 50 4e 47"),
        ("train-images-idx3-ubyte", idx_bytes(images(7))[:-1], r"57 bytes: expected 58 for shape \[7, 2, 3\]"),
        ("train-images-idx3-ubyte", idx_bytes(images(6)), r"labels of shape \[7\]: expected one for each image"),
        ("t10k-images-idx3-ubyte", idx_bytes(np.zeros((4, 3, 3))), "test images of 9 pixels: expected 6"),
        ("t10k-labels-idx1-ubyte", idx_bytes(np.zeros((4, 1))), r"labels of shape \[4, 1\]"),
    ],
)
@pytest.mark.parametrize("folder", ["plain"], indirect=True)
def test_a_wrong_file_is_named_with_what_is_wrong(folder: Path, name: str, content: bytes | None, message: str) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        idx.import_idx(folder, folder / "d.h5", title="tiny")
    assert not (folder / "d.h5").exists()


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(idx_bytes(images(7)), mtime=0)[:20]])
@pytest.mark.parametrize("folder", ["gzip"], indirect=True)
def test_a_damaged_gzip_file_is_named(folder: Path, content: bytes) -> None:
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        idx.import_idx(folder, folder / "d.h5", title="tiny")


def test_padding_puts_zeros_around_images(folder: Path) -> None:
    info = idx.import_idx(folder, folder / "d.h5", title="tiny", padding=2)
    assert info.n_features == 6 * 7
    found = load_samples(folder / "d.h5", "test").features.values.reshape(4, 6, 7)  # type: ignore[union-attr]
    np.testing.assert_array_equal(found[:, 2:4, 2:5], images(4))
    assert found.sum() == images(4).sum()
