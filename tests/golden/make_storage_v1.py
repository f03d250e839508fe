"""Makes the golden files of format version 1: ``python tests/golden/make_storage_v1.py``.

The files in this folder were written once by version 1 and stay as they are; this program shows how, and its
functions say what they must be read as. ``checkpoint_v1.h5`` cannot be made again: checkpoints are written in a later
version now.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset

FOLDER = Path(__file__).parent
DENSE = FOLDER / "dataset_dense_v1.h5"
SPARSE = FOLDER / "dataset_sparse_v1.h5"
CHECKPOINT = FOLDER / "checkpoint_v1.h5"
CLASS_NAMES = ("round", "kantig", "weiß")


def dense_samples(n_samples: int) -> Samples:
    """Samples whose features are multiples of 3, labels in turn."""
    values = (np.arange(n_samples * 4, dtype=np.int64) * 3 % 251).astype(np.uint8).reshape(n_samples, 4)
    return Samples(DenseFeatures(values), (np.arange(n_samples) % 3).astype(np.int32))


def sparse_samples(n_samples: int) -> Samples:
    """Samples of which every second one has no features, and the others have two."""
    n_stored = np.where(np.arange(n_samples) % 2 == 0, 2, 0)
    indptr = np.concatenate([[0], np.cumsum(n_stored)]).astype(np.int64)
    indices = np.tile(np.array([1, 6], np.int32), int(indptr[-1]) // 2)
    values = (np.arange(indices.size) / 8).astype(np.float32)
    return Samples(CsrFeatures(indptr, indices, values, 9), (np.arange(n_samples) % 3).astype(np.int32))


def checkpoint() -> Checkpoint:
    """Two layers, 5-4-3, the first of which has a neuron without connections."""
    hidden = LayerState.sparse(
        shape=(4, 5),
        activation="all_relu",
        indptr=np.array([0, 2, 2, 5, 6], np.int64),
        indices=np.array([0, 4, 1, 2, 3, 0], np.int32),
        weight=(np.arange(6) / 4 - 0.5).astype(np.float32),
        bias=(np.arange(4) / 16).astype(np.float32),
        weight_velocity=(np.arange(6) / 32).astype(np.float32),
        bias_velocity=(-np.arange(4) / 64).astype(np.float32),
    )
    output = LayerState.sparse(
        shape=(3, 4),
        activation="softmax",
        indptr=np.array([0, 4, 8, 12], np.int64),
        indices=np.tile(np.arange(4, dtype=np.int32), 3),
        weight=(np.arange(12) / 2 - 3).astype(np.float32),
        bias=np.zeros(3, np.float32),
        weight_velocity=np.zeros(12, np.float32),
        bias_velocity=np.zeros(3, np.float32),
    )
    metrics = {"test_accuracy": 0.75, "train_loss": 0.5}
    mean, deviation = np.array([0, 1, 2, 3, 255], np.float32), np.array([1, 0.5, 2, 4, 8], np.float32)
    text = '[data]\npath = "weiß.h5"\n'
    return Checkpoint(text, 12, 3456, 2, (hidden, output), metrics, (9, 0.8125), statistics_arrays(mean, deviation))


def main() -> None:
    """Write the data sets again."""
    for path, samples in ((DENSE, dense_samples), (SPARSE, sparse_samples)):
        write_dataset(
            path,
            samples(11),
            samples(5),
            title="golden",
            class_names=CLASS_NAMES,
            source="arithmetic",
            split="by hand",
            overwrite=True,
        )


if __name__ == "__main__":
    main()
