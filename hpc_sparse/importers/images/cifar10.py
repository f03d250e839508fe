"""CIFAR-10 (Krizhevsky 2009) from an archive of JPEG images that share one header.

Image i is ``header + body[offset[i]:offset[i + 1]]`` (uint8 each); ``offset`` has n + 1 entries, ``label`` has n. The
last samples are for testing. Re-encoding loses a little of every image, so accuracies are not exactly those of the
original data.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.dtypes import AnyArray, Int64Array, UInt8Array
from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.importers.labels import encode_labels
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

TITLE = "CIFAR-10, re-encoded as JPEG"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
N_TRAIN = 50_000
IMAGE_SHAPE = (32, 32, 3)
IMAGES_PER_TASK = 500


def import_cifar10(
    source: Path | str,
    target: Path | str,
    *,
    title: str | None = None,
    n_train: int = N_TRAIN,
    order_seed: int = 0,
    overwrite: bool = False,
) -> DatasetInfo:
    """Import the archive; a sample is an image's 32 rows of 32 pixels of 3 colours (uint8[3072]).

    Parameters
    ----------
    source, target : path
    title : str, optional
    n_train : int
        The first samples, which are for training; the others are for testing.
    order_seed : int
        Seed of the order of the training samples.
    overwrite : bool
        Whether an existing target may be replaced.

    Raises
    ------
    DataError
        The file is not such an archive, or an image is damaged.
    MachineError
        Pillow is not installed.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    archive = Archive(Path(source))
    offset = _checked_offsets(archive, n_train)
    images = decoded(archive, offset).reshape(offset.size - 1, -1)
    (labels,), names = encode_labels(str(archive.path), (archive.labels(),), CLASSES)
    if labels.size != images.shape[0]:
        raise DataError(f"{archive.path}: {labels.size} labels for {images.shape[0]} images: expected one per image")
    write_dataset(
        target,
        Samples(DenseFeatures(images[:n_train]), labels[:n_train]),
        Samples(DenseFeatures(images[n_train:]), labels[n_train:]),
        title=TITLE if title is None else title,
        class_names=names,
        source=f"{archive.path.name}: JPEG, lossy, not the original images",
        split="as published",
        order_seed=order_seed,
        overwrite=overwrite,
    )
    return read_info(target)


def decoded(archive: Archive, offset: Int64Array) -> UInt8Array:
    """The images, uint8[n, 32, 32, 3], decoded by all cores."""
    pillow = _pillow()
    header, body = archive.array("header").tobytes(), archive.array("body").tobytes()
    images = np.empty((offset.size - 1, *IMAGE_SHAPE), np.uint8)

    def decode(bounds: tuple[int, int]) -> None:
        for number in range(*bounds):
            images[number] = _decoded_image(archive, pillow, number, header + body[offset[number] : offset[number + 1]])

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        for _ in workers.map(decode, chunk_ranges(0, images.shape[0], IMAGES_PER_TASK)):
            pass
    return images


def _decoded_image(archive: Archive, pillow: Any, number: int, content: bytes) -> AnyArray:
    try:
        picture = pillow.open(io.BytesIO(content), formats=("JPEG",))
        shape = (picture.height, picture.width, len(picture.getbands()))
        image: AnyArray | None = np.asarray(picture) if shape == IMAGE_SHAPE else None
    except (OSError, SyntaxError, ValueError, pillow.DecompressionBombError) as error:
        raise DataError(f"{archive.path}: image {number}: cannot be decoded: {error}") from None
    if image is None:
        raise DataError(f"{archive.path}: image {number}: shape {list(shape)}: expected {list(IMAGE_SHAPE)}")
    return image


def _checked_offsets(archive: Archive, n_train: int) -> Int64Array:
    for name in ("header", "body"):
        if archive.array(name).dtype != np.uint8:
            raise DataError(f"{archive.where(name)}: {archive.array(name).dtype}: expected uint8")
    given = archive.array("offset")
    if given.ndim != 1 or given.dtype.kind not in "iu" or given.size <= n_train + 1:
        raise DataError(
            f"{archive.where('offset')}: {given.dtype}{list(given.shape)}: expected more than {n_train + 1} positions, "
            f"for {n_train} training images and the test images"
        )
    offset = given.astype(np.int64)
    if offset[0] < 0 or offset[-1] > archive.array("body").size or (offset[1:] < offset[:-1]).any():
        raise DataError(
            f"{archive.where('offset')}: expected positions from 0 to {archive.array('body').size}, none below the last"
        )
    return offset


def _pillow() -> Any:
    try:
        return import_module("PIL.Image")
    except ImportError as error:
        raise MachineError(
            f"CIFAR-10: decoding its images needs Pillow, which cannot be imported ({error}): "
            "pip install 'hpc-sparse[images]'"
        ) from None
