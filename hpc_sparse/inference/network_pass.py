"""The outputs of a network for samples in memory."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import INDEX, VALUE, Float32Array
from hpc_sparse.inputs.batches import BatchAssembler, ordered_batches
from hpc_sparse.kernels.sparse.single_sample import forward_sample
from hpc_sparse.network.network import Network, Workspace
from hpc_sparse.storage.dataset.samples import DenseFeatures, Features, Samples

BATCH = 128
"""Samples that are computed together: the activations of layers of thousands of neurons stay in the caches."""

MOST_CONNECTIONS_ALONE = 1_000_000
"""Of a network that takes a single sample alone and on one thread; for a larger one, threads are worth starting."""

Scaling = tuple[Float32Array, Float32Array]
"""Mean and deviation of each feature, float32[n_features] each."""


class NetworkPass:
    """Computes the weighted sums of a network's output layer, without dropout, in float32.

    A sample gives the same bits alone, in a batch, and on any number of threads.

    Parameters
    ----------
    network : Network
        May change its weights and connections, but not its neurons.
    scaling : Scaling or None
        With which dense features are standardised.
    """

    def __init__(self, network: Network, scaling: Scaling | None) -> None:
        self._network, self._scaling = network, scaling
        self._inputs = network.neuron_ids[0]
        self._shift, self._scale = np.zeros(1, VALUE), np.ones(1, VALUE)
        if scaling is not None:
            self._shift, self._scale = scaling[0], (1.0 / scaling[1].astype(np.float64)).astype(VALUE)

    def outputs(self, features: Features) -> Float32Array:
        """float32[n_samples, n_outputs], for all features that the network was trained on."""
        is_alone = features.n_samples == 1 and self._network.n_connections <= MOST_CONNECTIONS_ALONE
        return self._of_one(features)[None] if is_alone else self._of_batches(features)

    def _of_one(self, features: Features) -> Float32Array:
        """float32[n_outputs]."""
        values = self._values_of_one(features)
        for layer in self._network.layers:
            t, out = layer.topology, np.empty(layer.bias.size, VALUE)
            forward_sample(t.indptr, t.indices, layer.acting_weight, layer.bias, values, VALUE(layer.slope), out)
            values = out
        return values

    def _values_of_one(self, features: Features) -> Float32Array:
        """float32[n_inputs]: what the input neurons get."""
        values: Float32Array
        if isinstance(features, DenseFeatures):
            values = (features.values[0].astype(VALUE, copy=False) - self._shift) * self._scale
        else:
            values = np.zeros(features.n_features, VALUE)
            values[features.indices] = features.values
        return values if self._inputs is None else values[self._inputs]

    def _of_batches(self, features: Features) -> Float32Array:
        n_samples, widths = features.n_samples, self._network.widths
        outputs = np.empty((n_samples, widths[-1]), VALUE)
        most = min(BATCH, n_samples)
        mean, deviation = self._scaling or (None, None)
        assembler = BatchAssembler(features.n_features, most, mean=mean, deviation=deviation, features=self._inputs)
        workspace = Workspace(widths, most)
        samples = Samples(features, np.zeros(n_samples, INDEX))
        for chosen in ordered_batches(n_samples, BATCH):
            batch, _ = assembler.assemble(samples, chosen)
            outputs[chosen[0] : chosen[-1] + 1] = self._network.forward(batch, workspace)[:, : chosen.size].T
        return outputs
