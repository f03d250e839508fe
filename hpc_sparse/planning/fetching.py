"""Timing how samples become a batch, for features of the kind that a data set has."""

from __future__ import annotations

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE
from hpc_sparse.kernels import batch as kernels
from hpc_sparse.kernels.simd.machine import tile_width
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.planning.probe import timed
from hpc_sparse.storage.dataset.samples import DatasetInfo

MOST_BYTES = 64 * 10**6
"""Size of the generated samples: larger than the caches."""

STORED_BYTES = 8
"""Bytes per stored feature of sparse samples: its number and its value."""


def time_fetching(config: RunConfig, info: DatasetInfo, n_rounds: int) -> float:
    """Median seconds of making a batch; 0 of tokens, of which there are few."""
    if info.n_tokens:
        return 0.0
    rng, n_batch = np.random.default_rng(0), config.training.batch_size
    width = tile_width([info.n_features])
    batch = Tiles.empty(info.n_features, n_batch, width).values
    batch.fill(0)
    if not info.is_sparse:
        n = max(n_batch, min(info.n_train, MOST_BYTES // (info.n_features * np.dtype(info.dtype).itemsize)))
        values = np.ones((n, info.n_features), info.dtype)
        shift, scale = np.zeros(info.n_features, VALUE), np.ones(info.n_features, VALUE)
        return timed(
            lambda: kernels.gather_dense(values, rng.integers(0, n, n_batch, OFFSET), shift, scale, width, batch),
            n_rounds,
        )
    length = max(1, info.file_bytes // STORED_BYTES // (info.n_train + info.n_test))
    n = max(n_batch, min(info.n_train, MOST_BYTES // (length * STORED_BYTES)))
    indptr = np.arange(n + 1, dtype=OFFSET) * length
    indices = rng.integers(0, info.n_features, n * length).astype(INDEX)
    stored = np.ones(n * length, VALUE)

    def fetch() -> None:
        chosen = rng.integers(0, n, n_batch, OFFSET)
        kernels.scatter_csr(indptr, indices, stored, chosen, info.n_features, width, batch)
        kernels.clear_csr(indptr, indices, chosen, info.n_features, width, batch)

    return timed(fetch, n_rounds)
