"""MNIST-like data sets: a folder with four IDX files (LeCun's format of the MNIST database), plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from hpc_sparse.dtypes import UInt8Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.labels import encode_labels
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Folder of the Debian package dataset-fashion-mnist."""

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

UNSIGNED_BYTES = 0x08
"""IDX code of the only element type that images and labels come in."""

MOST_DIMENSIONS = 4
"""Samples, rows, columns, colours."""

READ_BYTES = 16 * 1024 * 1024

IdxStream: TypeAlias = gzip.GzipFile | BinaryIO


def import_fashion_mnist(
    source: Path | str | None,
    target: Path | str,
    *,
    order_seed: int = 0,
    overwrite: bool = False,
    time_steps: int = 1,
    padding: int = 0,
) -> DatasetInfo:
    """Import Fashion-MNIST (Xiao, Rasul, Vollgraf 2017) from a folder, or from the Debian package's without one.

    With 28 ``time_steps``, samples are sequences of rows of 28 pixels. With a ``padding`` of 2, images have 32 x 32.
    """
    folder = FASHION_MNIST_FOLDER if source is None else Path(source)
    if source is None and not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder: install the Debian package dataset-fashion-mnist, or name a folder that has "
            "the four *-ubyte.gz files"
        )
    return import_idx(
        folder,
        target,
        title="Fashion-MNIST",
        order_seed=order_seed,
        overwrite=overwrite,
        time_steps=time_steps,
        padding=padding,
    )


def import_idx(
    source: Path | str,
    target: Path | str,
    *,
    title: str,
    class_names: Sequence[str] | None = None,
    order_seed: int = 0,
    overwrite: bool = False,
    time_steps: int = 1,
    padding: int = 0,
) -> DatasetInfo:
    """Import a folder with the files train-images, train-labels, t10k-images and t10k-labels.

    Without ``class_names``, a title with "fashion" in it gives those of Fashion-MNIST. Images get so many rows and
    columns of zeros on each side as ``padding`` says.

    Raises
    ------
    DataError
        A file is missing, is not IDX, or does not fit the others.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    folder = Path(source)
    train_images, train_labels = _read_pair(folder, "train", padding)
    test_images, test_labels = _read_pair(folder, "t10k", padding)
    if train_images.shape[1] != test_images.shape[1]:
        raise DataError(
            f"{folder}: test images of {test_images.shape[1]} pixels: expected {train_images.shape[1]}, as in training"
        )
    if class_names is None and "fashion" in title.lower():
        class_names = FASHION_MNIST_CLASSES
    labels, names = encode_labels(str(folder), (train_labels, test_labels), class_names)
    write_dataset(
        target,
        Samples(DenseFeatures(train_images), labels[0]),
        Samples(DenseFeatures(test_images), labels[1]),
        title=title,
        class_names=names,
        source="IDX files train-*, t10k-*",
        split="as published",
        order_seed=order_seed,
        overwrite=overwrite,
        time_steps=time_steps,
    )
    return read_info(target)


def read_idx(path: Path) -> UInt8Array:
    """The array in an IDX file of unsigned bytes."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            shape = _read_shape(path, stream)
            content = _read_content(path, stream, shape)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_shape(path: Path, stream: IdxStream) -> tuple[int, ...]:
    start = stream.read(4)
    n_dimensions = start[3] if len(start) == 4 else 0
    lengths = stream.read(4 * n_dimensions)
    is_idx = start[:3] == bytes([0, 0, UNSIGNED_BYTES]) and len(lengths) == 4 * n_dimensions
    if not is_idx or not 0 < n_dimensions <= MOST_DIMENSIONS:
        raise DataError(f"{path}: begins with {start.hex(' ')}: expected an IDX file of unsigned bytes (00 00 08)")
    return tuple(np.frombuffer(lengths, ">u4").tolist())


def _read_content(path: Path, stream: IdxStream, shape: tuple[int, ...]) -> bytearray:
    """The bytes that the shape needs; the buffer grows only as the stream delivers."""
    content, expected = bytearray(), math.prod(shape)
    while part := stream.read(min(READ_BYTES, expected + 1 - len(content))):
        content += part
    if len(content) != expected:
        header = 4 + 4 * len(shape)
        found = f"more than {header + expected}" if len(content) > expected else header + len(content)
        raise DataError(f"{path}: {found} bytes: expected {header + expected} for shape {list(shape)}")
    return content


def _read_pair(folder: Path, prefix: str, padding: int) -> tuple[UInt8Array, UInt8Array]:
    images_path = _find(folder, f"{prefix}-images", 3)
    labels_path = _find(folder, f"{prefix}-labels", 1)
    images, labels = read_idx(images_path), read_idx(labels_path)
    if labels.ndim != 1 or images.ndim < 2 or images.shape[0] != labels.size:
        raise DataError(
            f"{labels_path}: labels of shape {list(labels.shape)}: expected one for each image in "
            f"{images_path.name}, of shape {list(images.shape)}"
        )
    if padding:
        images = _padded(images_path, images, padding)
    return images.reshape(labels.size, int(np.prod(images.shape[1:], dtype=np.int64))), labels


def _padded(path: Path, images: UInt8Array, padding: int) -> UInt8Array:
    """Images with rows and columns of zeros around them."""
    if images.ndim < 3:
        raise DataError(f"{path}: padding = {padding}: expected images of rows and columns, not {list(images.shape)}")
    around = (padding, padding)
    return np.pad(images, [(0, 0), around, around, *[(0, 0)] * (images.ndim - 3)])


def _find(folder: Path, stem: str, n_dimensions: int) -> Path:
    names = [f"{stem}{dot}idx{n_dimensions}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder}: no file {stem}: expected one of {', '.join(names)}")
