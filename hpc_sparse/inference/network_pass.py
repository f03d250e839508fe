"""The outputs of a network for samples in memory."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import INDEX, VALUE, Float32Array, Int32Array
from hpc_sparse.inputs.batches import BatchAssembler, ordered_batches
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.network.network import Network
from hpc_sparse.storage.dataset.samples import Features, Samples

BATCH = 128
"""Samples that are computed together: the activations of layers of thousands of neurons stay in the caches."""

MOST_CONNECTIONS_ALONE = 1_000_000
"""Largest network that computes a single sample on one thread; for larger ones, starting threads pays off. Networks
that read sequences compute it as a batch."""


class NetworkPass:
    """Computes the weighted sums of a network's output layer, without dropout, in float32.

    A sample gives the same bits alone, in a batch, and on any number of threads.

    Parameters
    ----------
    network : Network
        May change its weights and connections, but not its neurons.
    front_end : FrontEndChain
        Front ends of the network.
    """

    def __init__(self, network: Network, front_end: FrontEndChain) -> None:
        self._network, self._front_end = network, front_end
        self._gather, self._later = front_end.fused()

    def outputs(self, features: Features, lengths: Int32Array | None = None) -> Float32Array:
        """float32[n_samples, n_outputs], for all features that the network was trained on.

        Where there are outputs for each step, float32[n_samples, n_steps, n_outputs]. ``lengths``, int32[n_samples],
        are the steps of each sequence that count, where they differ.
        """
        network = self._network
        is_small = network.n_connections <= MOST_CONNECTIONS_ALONE and network.n_places == 1
        is_single = features.n_samples == 1 and is_small and not network.reads_tokens
        return self._of_one(features)[None] if is_single else self._of_batches(features, lengths)

    def _of_one(self, features: Features) -> Float32Array:
        """float32[n_outputs]."""
        values = self._values_of_one(features)
        for layer in self._network.layers:
            out = np.empty(layer.shape[0], VALUE)
            layer.forward_alone(values, out)
            values = out
        return values

    def _values_of_one(self, features: Features) -> Float32Array:
        """float32[n_inputs]: what the input neurons get."""
        values = self._gather.values_of_first(features)
        for part in self._later:
            out = np.empty((part.n_inputs(values.size), 1), VALUE)
            part.apply(values[:, None], 1, out)
            values = out[:, 0]
        return values

    def _of_batches(self, features: Features, lengths: Int32Array | None) -> Float32Array:
        n_samples, widths = features.n_samples, self._network.widths
        n_places = self._network.n_places_out
        outputs = np.empty((n_samples, n_places, widths[-1]), VALUE)
        most = min(BATCH, n_samples)
        tiles = self._network.tile_width, self._network.n_places, self._network.n_tokens
        assembler = BatchAssembler(self._front_end, features.n_features, most, *tiles)
        workspace = self._network.make_workspace(most)
        samples = Samples(features, np.zeros(n_samples, INDEX), lengths)
        for chosen in ordered_batches(n_samples, BATCH):
            batch, _ = assembler.assemble(samples, chosen)
            sums = self._network.forward(batch, workspace)
            for place in range(n_places):
                own = sums.place(place).matrix()[:, : chosen.size]
                outputs[chosen[0] : chosen[-1] + 1, place] = own.T
        return outputs if n_places > 1 else outputs[:, 0]
