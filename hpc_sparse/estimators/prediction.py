"""The outputs of a network for samples in memory."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import INDEX, VALUE, Float32Array
from hpc_sparse.estimators.arrays import Standardisation
from hpc_sparse.network.mlp import SparseMLP, Workspace
from hpc_sparse.storage.dataset import Features, Samples
from hpc_sparse.training.batches import BatchAssembler, ordered_batches

BATCH = 256


def network_outputs(network: SparseMLP, features: Features, scaling: Standardisation | None) -> Float32Array:
    """Weighted sums of the output layer, float32[n_samples, n_outputs]; no dropout."""
    batch_size = min(BATCH, features.n_samples)
    mean, deviation = scaling or (None, None)
    assembler = BatchAssembler(features.n_features, batch_size, mean=mean, deviation=deviation)
    workspace = Workspace(network.widths, batch_size)
    samples = Samples(features, np.zeros(features.n_samples, INDEX))
    outputs = np.empty((features.n_samples, network.widths[-1]), VALUE)
    for chosen in ordered_batches(features.n_samples, batch_size):
        batch, _ = assembler.assemble(samples, chosen)
        outputs[chosen[0] : chosen[-1] + 1] = network.forward(batch, workspace)[:, : chosen.size].T
    return outputs
