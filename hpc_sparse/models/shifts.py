"""Consistency of a trained network under shifts of its images.

A shift is circular, where pixels that leave on one side come in on the other, or cropped: the image moves behind the
frame, and what comes in are copies of its edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.inputs.batches import BatchAssembler, ordered_batches
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples

Kind = Literal["circular", "cropped"]

BATCH = 128
"""Samples that are computed together."""


def measure_shifts(
    ctx: ParallelContext, checkpoint: Path, dataset: Path, n_samples: int = 256, largest: int | None = None
) -> dict[str, Any]:
    """Shares of test images whose class stays, by kind of shift, and whether outputs stay to the bit.

    Called on one process; the first test images are taken.

    Parameters
    ----------
    ctx : ParallelContext
        Of that process alone.
    checkpoint, dataset : Path
    n_samples : int
        Images at most.
    largest : int or None
        Most pixels in either direction; None: circular ones all, cropped ones up to an eighth of a side.

    Returns
    -------
    dict
        ``kinds`` has a record for each kind of shifts: ``consistency`` is the share of pairs of shifts that give an
        image the same class, ``same_bits`` that of outputs with the bits of the image where it is. ``agreement`` has,
        by kind and for each shift (rows: down, columns: right), the share of images that keep their class.

    Raises
    ------
    InputError
        A file is not what it should be, or they do not fit, or the network reads no images.
    """
    stored = StoredNetwork.read(ctx, checkpoint)
    network = stored.config.network
    if not network.reads_images:
        raise DataError(f"{checkpoint}: layers read no images: expected a network with convolutions")
    data = stored.load_data(ctx, dataset)
    features = data.test.features
    if not isinstance(features, DenseFeatures):
        raise DataError(f"{dataset}: sparse features: expected images")
    rows, columns = network.image(data.info.n_features)
    images = features.values[:n_samples].reshape(-1, rows, columns, data.info.n_features // (rows * columns))
    if not len(images):
        raise DataError(f"{dataset}: no test images")
    labels = data.test.labels[: len(images)]
    found: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "dataset": str(dataset),
        "epoch": stored.checkpoint.epoch,
        "images": len(images),
        "kinds": [],
        "agreement": {},
    }
    outputs = _Outputs(stored, data.info.n_features, len(images))
    for kind, most in _ranges(rows, columns, largest).items():
        record, agreement = _consistency(outputs, images, labels, kind, *most)
        found["kinds"].append({"shifts": kind, **record})
        found["agreement"][kind] = {"down": list(most[0]), "right": list(most[1]), "share": agreement}
    return found


def shifted(images: AnyArray, down: int, right: int, kind: Kind) -> AnyArray:
    """Images [n, rows, columns, colours] moved ``down`` and to the ``right``."""
    if kind == "circular":
        return np.roll(images, (down, right), axis=(1, 2))
    rows, columns = (
        np.clip(np.arange(n) - by, 0, n - 1) for n, by in zip(images.shape[1:3], (down, right), strict=True)
    )
    return images[:, rows][:, :, columns]


def _ranges(rows: int, columns: int, largest: int | None) -> dict[Kind, tuple[range, range]]:
    """How far down and to the right images move, by kind."""
    all_around = tuple(range(-(n // 2), n - n // 2) for n in (rows, columns))
    most = [max(1, n // 8) if largest is None else min(largest, n - 1) for n in (rows, columns)]
    cropped = tuple(range(-n, n + 1) for n in most)
    if largest is not None:
        all_around = tuple(
            range(max(own.start, -n), min(own.stop, n + 1)) for own, n in zip(all_around, most, strict=True)
        )
    return {"circular": (all_around[0], all_around[1]), "cropped": (cropped[0], cropped[1])}


class _Outputs:
    """Weighted sums of the output layer of a stored network for images in memory."""

    def __init__(self, stored: StoredNetwork, n_features: int, n_samples: int) -> None:
        self._network, n_most = stored.replica.network, min(BATCH, n_samples)
        tiles = self._network.tile_width, self._network.n_places
        self._assembler = BatchAssembler(stored.front_end, n_features, n_most, *tiles)
        self._workspace = self._network.make_workspace(n_most)

    def of(self, images: AnyArray) -> Float32Array:
        """float32[n, n_outputs]."""
        features = DenseFeatures(np.ascontiguousarray(images.reshape(len(images), -1)))
        samples = Samples(features, np.zeros(len(images), INDEX))
        found = np.empty((len(images), self._network.widths[-1]), VALUE)
        for chosen in ordered_batches(len(images), BATCH):
            batch, _ = self._assembler.assemble(samples, chosen)
            sums = self._network.forward(batch, self._workspace).matrix()
            found[chosen] = sums[:, : chosen.size].T
        return found


def _consistency(
    outputs: _Outputs, images: AnyArray, labels: AnyArray, kind: Kind, downs: range, rights: range
) -> tuple[dict[str, Any], list[list[float]]]:
    """The figures of all shifts of a kind, and the share of images that keep their class for each shift."""
    unmoved = outputs.of(images)
    n_classes = max(2, unmoved.shape[1])
    before, counts = _classes(unmoved), np.zeros((len(images), n_classes), OFFSET)
    agreement, accuracy, n_equal, worst = [], list[float](), 0, 0.0
    for down in downs:
        agreement.append(list[float]())
        for moved in _moved(outputs, images, kind, down, rights):
            classes = _classes(moved)
            counts[np.arange(len(images)), classes] += 1
            agreement[-1].append(float(np.mean(classes == before)))
            accuracy.append(float(np.mean(classes == labels)))
            n_equal += int((moved.view(np.uint32) == unmoved.view(np.uint32)).all(axis=1).sum())
            worst = max(worst, float(np.abs(moved - unmoved).max()))
    n_shifts = len(downs) * len(rights)
    # Of all ordered pairs of shifts, one with itself included.
    pairs = (counts.astype(np.float64) ** 2).sum(axis=1) / n_shifts**2
    return {
        "number": n_shifts,
        "consistency": float(pairs.mean()),
        "same_class": float(np.mean(agreement)),
        "same_bits": n_equal / (n_shifts * len(images)),
        "largest_difference": worst,
        "accuracy": float(np.mean(accuracy)),
        "unmoved_accuracy": float(np.mean(before == labels)),
    }, agreement


def _moved(outputs: _Outputs, images: AnyArray, kind: Kind, down: int, rights: range) -> Iterator[Float32Array]:
    for right in rights:
        yield outputs.of(shifted(images, down, right, kind))


def _classes(sums: Float32Array) -> Int64Array:
    """The class of each image; with one output, 1 where it is above 0."""
    found: Int64Array = (sums[:, 0] > 0).astype(OFFSET) if sums.shape[1] == 1 else sums.argmax(axis=1).astype(OFFSET)
    return found
