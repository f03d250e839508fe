"""From a shard's samples to batches: which samples, in which order, as neuron-major columns."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Int32Array, Int64Array
from hpc_sparse.kernels import batch as kernels
from hpc_sparse.kernels.buffers import aligned_empty, padded_columns
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.dataset import CsrFeatures, Samples


class BatchAssembler:
    """Assembles batches into one buffer that is used again and again.

    Dense features are standardised on the way, so that the shard stays in memory as it is on disk. CSR
    features are written into a buffer of zeros and taken out again: O(stored features), not O(all features).
    """

    def __init__(
        self, n_features: int, max_batch: int, *, mean: Float32Array | None, deviation: Float32Array | None
    ) -> None:
        """Prepare for batches of up to ``max_batch`` samples; dense features are standardised if a mean is given."""
        self._n_features = n_features
        self._buffer = aligned_empty(n_features * padded_columns(max_batch), VALUE)
        self._buffer.fill(0)
        self._written: tuple[CsrFeatures, Int64Array, Float32Array] | None = None
        self._shift, self._scale = np.zeros(n_features, VALUE), np.ones(n_features, VALUE)
        if mean is not None and deviation is not None:
            self._shift, self._scale = mean, (1.0 / deviation.astype(np.float64)).astype(VALUE)

    def assemble(self, samples: Samples, chosen: Int64Array) -> tuple[Float32Array, Int32Array]:
        """The batch of the ``chosen`` samples (int64[n_batch]).

        Returns
        -------
        batch : float32[n_features, stride]
            Valid until the next call; 0 in the columns beyond the batch.
        labels : int32[n_batch]
        """
        stride = padded_columns(chosen.size)
        batch = self._buffer[: self._n_features * stride].reshape(self._n_features, stride)
        features = samples.features
        if isinstance(features, CsrFeatures):
            self._clear()
            kernels.scatter_csr(features.indptr, features.indices, features.values, chosen, batch)
            self._written = (features, chosen, batch)
        else:
            kernels.gather_dense(features.values, chosen, self._shift, self._scale, batch)
        return batch, samples.labels[chosen]

    def _clear(self) -> None:
        if self._written is not None:
            features, chosen, batch = self._written
            kernels.clear_csr(features.indptr, features.indices, chosen, batch)


def shuffled_batches(n_samples: int, batch_size: int, seed: int, epoch: int, replica: int) -> list[Int64Array]:
    """The batches of one epoch of one replica's shard: a new order each epoch, the last batch may be smaller."""
    order = stream(seed, Purpose.SHUFFLE, epoch=epoch, replica=replica).permutation(n_samples).astype(OFFSET)
    return [order[start:stop] for start, stop in chunk_ranges(0, n_samples, batch_size)]


def ordered_batches(n_samples: int, batch_size: int) -> list[Int64Array]:
    """All samples in order, for evaluation."""
    return [np.arange(start, stop, dtype=OFFSET) for start, stop in chunk_ranges(0, n_samples, batch_size)]
