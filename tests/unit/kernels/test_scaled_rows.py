"""Sparse samples in batches whose features are standardised, against dense ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.kernels.simd import machine
from hpc_sparse.storage.dataset.samples import DenseFeatures

SIZES = (np.arange(64), np.arange(90, 95), np.arange(64, 214), np.arange(64, 128), np.arange(3, 67), np.array([3]))


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("kept", [None, [4], [0, 3, 4, 11]])
def test_sparse_batches_have_the_bits_of_dense_ones(make_dataset, kept, width):
    dataset = make_dataset(kind="csr")
    features = dataset.train.features
    dense = np.zeros((features.n_samples, 12), np.float32)
    dense[np.repeat(np.arange(features.n_samples), np.diff(features.indptr)), features.indices] = features.values
    rng = np.random.default_rng(5)
    part = Standardise(*(rng.uniform(0.5, 3, 12).astype(np.float32) for _ in range(2)))
    front_end = FrontEndChain((part,)).choosing(None if kept is None else np.array(kept, np.int32))
    sparse, whole = (BatchAssembler(front_end, 12, 150, width) for _ in range(2))
    as_dense = replace(dataset.train, features=DenseFeatures(dense))
    for chosen in SIZES:
        found, labels = sparse.assemble(dataset.train, chosen)
        expected, _ = whole.assemble(as_dense, chosen)
        np.testing.assert_array_equal(found.matrix(), expected.matrix())
        np.testing.assert_array_equal(labels, dataset.train.labels[chosen])
