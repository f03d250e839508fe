"""Augmentation of training images: random rotations, shifts and flips, prepared while the network trains.

A sample's transform is a function of (seed, epoch, replica, number of the sample in its shard) alone. The order of the
batches, their size and the thread that prepares them have no effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import VALUE, AnyArray, BoolArray, Float32Array, Int64Array, UInt8Array
from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples

IMAGE_SHAPE = (32, 32, 3)
"""Rows, columns and colours of the images that can be augmented."""

MAX_DEGREES = 10.0
MAX_SHIFT = 0.1
"""Largest shift as a fraction of the height and of the width."""

IMAGES_PER_CALL = 512
"""OpenCV addresses pixels by 16 bits; images lie below each other in one call."""

TO_256TH = VALUE(1.5 * 2**15)
"""Added to a float32 from 0 to 2^14 and taken off again, it leaves a multiple of 1/256."""

BATCHES_AHEAD = 3
"""Prepared batches that wait at most; each is a copy of its images."""

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Augmentation(FrontEnd):
    """Training images that are transformed anew in each epoch; all others are taken as they are."""

    name: ClassVar[str] = "augmentation"
    acts_in_predictions: ClassVar[bool] = False
    fits_any_samples: ClassVar[bool] = False

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """The front end, if the configuration asks for it."""
        return cls() if config.data.augmentation == "cifar" else None

    def training_batches(self, shard: Samples, seed: int, replica: int) -> AugmentedBatches | None:
        """Transformed images; None for a shard without samples."""
        return AugmentedBatches(shard, seed, replica) if shard.n_samples else None


@dataclass(frozen=True)
class Transforms:
    """One transform per image; it is rotated around its centre, shifted, and flipped left to right, in this order.

    Attributes
    ----------
    angle : float32[n]
        Radians, counted from the x axis (right) to the y axis (down).
    shift : float32[n, 2]
        Pixels down and to the right.
    is_flipped : bool[n]
    """

    angle: Float32Array
    shift: Float32Array
    is_flipped: BoolArray

    @classmethod
    def drawn(cls, n_samples: int, seed: int, epoch: int, replica: int) -> Transforms:
        """Those of every sample of a replica's shard in an epoch.

        Uniform: angles in +-10 degrees, shifts in +-0.1 of the height and width; flips with probability 1/2.
        """
        numbers = stream(seed, Purpose.AUGMENT, epoch=epoch, replica=replica).random((n_samples, 4))
        centred = (2 * numbers[:, :3] - 1).astype(VALUE)
        largest_shift = MAX_SHIFT * np.array(IMAGE_SHAPE[:2], VALUE)
        return cls(np.deg2rad(VALUE(MAX_DEGREES)) * centred[:, 0], largest_shift * centred[:, 1:], numbers[:, 3] < 0.5)

    def of(self, chosen: Int64Array | slice) -> Transforms:
        """Those of the ``chosen`` images."""
        return Transforms(self.angle[chosen], self.shift[chosen], self.is_flipped[chosen])


class AugmentedBatches:
    """Makes the augmented batches of a shard of 32 x 32 colour images (uint8[n, 3072]: rows, columns, colours)."""

    def __init__(self, shard: Samples, seed: int, replica: int, *, n_ahead: int = BATCHES_AHEAD) -> None:
        """Take a replica's shard; up to ``n_ahead`` batches are prepared in the background, 0: none.

        Raises
        ------
        DataError
            The samples are not such images.
        MachineError
            OpenCV is not installed.
        """
        self._images = _checked(shard)
        self._labels = shard.labels
        self._seed, self._replica, self._n_ahead = seed, replica, n_ahead
        self._cv2 = _opencv()

    def prepare(self, epoch: int, batches: Sequence[Int64Array]) -> Iterator[Samples]:
        """The samples of each batch with transformed images, in the order of ``batches`` (int64[n_batch] each).

        Close the iterator, or let go of it, to end the preparation early. What goes wrong in the background is raised
        here, in the place of the batch.
        """
        transforms = Transforms.drawn(self._labels.size, self._seed, epoch, self._replica)

        def make(chosen: Int64Array) -> Samples:
            images = transformed(self._cv2, self._images[chosen], transforms.of(chosen))
            return Samples(DenseFeatures(images.reshape(chosen.size, -1)), self._labels[chosen])

        return made_ahead(make, batches, self._n_ahead)


def transformed(cv2: Any, images: UInt8Array, transforms: Transforms) -> UInt8Array:
    """Each image by its transform: bilinear, pixels beyond an edge taken from the nearest on it.

    Parameters
    ----------
    cv2 : module
        OpenCV.
    images : uint8[n, 32, 32, 3]
    transforms : Transforms
        Of n images.

    Returns
    -------
    uint8[n, 32, 32, 3]
    """
    result = np.empty_like(images)
    for start in range(0, images.shape[0], IMAGES_PER_CALL):
        part = slice(start, start + IMAGES_PER_CALL)
        rows, columns = source_pixels(transforms.of(part))
        n_images, height, width = rows.shape
        # The images lie below each other, so that one call, which lets other threads run, does them all.
        # Rounded to 1/256 first: else rounding, and so an image, would depend on its place.
        rows += TO_256TH
        rows -= TO_256TH - height * np.arange(n_images, dtype=VALUE)[:, None, None]
        tall = n_images * height
        result[part] = cv2.remap(
            images[part].reshape(tall, width, -1),
            columns.reshape(tall, width),
            rows.reshape(tall, width),
            cv2.INTER_LINEAR,
        ).reshape(n_images, height, width, -1)
    return result


def source_pixels(transforms: Transforms) -> tuple[Float32Array, Float32Array]:
    """Where each pixel of a transformed image comes from: rows and columns (float32[n, 32, 32]), within the image."""
    height, width, _ = IMAGE_SHAPE
    middle_row, middle_column = VALUE((height - 1) / 2), VALUE((width - 1) / 2)
    cosine, sine = (function(transforms.angle)[:, None] for function in (np.cos, np.sin))
    side = np.where(transforms.is_flipped, VALUE(-1), VALUE(1))[:, None]
    row = np.arange(height, dtype=VALUE) - middle_row - transforms.shift[:, :1]
    column = side * (np.arange(width, dtype=VALUE) - middle_column) - transforms.shift[:, 1:]
    # Whole images in as few passes as possible: this is half of an image's time.
    rows = (cosine * row + middle_row)[:, :, None] - (sine * column)[:, None, :]
    columns = (sine * row + middle_column)[:, :, None] + (cosine * column)[:, None, :]
    return np.clip(rows, 0, height - 1, out=rows), np.clip(columns, 0, width - 1, out=columns)


def made_ahead(make: Callable[[Item], Made], items: Sequence[Item], n_ahead: int) -> Iterator[Made]:
    """``make`` of each item in order, up to ``n_ahead`` of them made by a background thread before their turn."""
    if n_ahead == 0:
        yield from map(make, items)
        return
    waiting = iter(items)
    worker = ThreadPoolExecutor(1, thread_name_prefix="made-ahead")
    try:
        under_way = deque(worker.submit(make, item) for item in islice(waiting, n_ahead))
        while under_way:
            made = under_way.popleft().result()
            under_way.extend(worker.submit(make, item) for item in islice(waiting, 1))
            yield made
    finally:
        worker.shutdown(wait=True, cancel_futures=True)


def _checked(shard: Samples) -> UInt8Array:
    """The images of a shard, uint8[n, 32, 32, 3]."""
    features, n_pixels = shard.features, int(np.prod(IMAGE_SHAPE))
    if not isinstance(features, DenseFeatures):
        raise DataError('data.augmentation = "cifar": the data set is sparse; expected images, uint8 x 3072')
    if features.values.dtype != np.uint8 or features.n_features != n_pixels:
        raise DataError(
            f'data.augmentation = "cifar": the data set has {features.n_features} {features.values.dtype} features; '
            f"expected images of 32 x 32 x 3 = {n_pixels} uint8"
        )
    return features.values.reshape(-1, *IMAGE_SHAPE)


def _opencv() -> Any:
    try:
        cv2: Any = import_module("cv2")
    except ImportError as error:
        raise MachineError(
            f'data.augmentation = "cifar": needs OpenCV, which cannot be imported ({error}): '
            "pip install 'hpc-sparse[augment]', or set data.augmentation = \"none\""
        ) from None
    # One thread prepares; the others are for training.
    cv2.setNumThreads(1)
    return cv2
