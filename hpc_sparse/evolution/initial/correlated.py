"""CSTI: a first layer that connects features that go together (Zhang et al. 2024, Cannistraci-Hebb training)."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array
from hpc_sparse.evolution.gradient_tiles import largest_gradients, samples_of
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layer_signals import Signals
from hpc_sparse.network.tiles import Tiles


def correlated_topology(
    batch: Tiles, n_samples: int, n_out: int, n_connections: int, rng: np.random.Generator
) -> Topology:
    """Connect every neuron with the features that are most correlated with its own one, most correlated pairs first.

    Each neuron is assigned a feature, drawn without repetition as long as there are enough. The pairs of a neuron and a
    feature with the largest |correlation| are connected, the first of equal ones. Constant features correlate with
    none.

    No matrix of correlations exists: they are computed a tile at a time, as gradients are in
    :mod:`hpc_sparse.evolution.strategies.rigl`. Memory O(n_connections + n_samples (n_in + n_out)); work at most
    2 n_samples n_in n_out.

    Parameters
    ----------
    batch : Tiles
        Of the inputs.
    n_samples : int
    n_out : int
        Neurons.
    n_connections : int
        At most n_in n_out.
    rng : numpy.random.Generator
    """
    features = _normalised(samples_of(batch, n_samples).astype(np.float64))
    n_in = features.shape[0]
    order = rng.permutation(n_in)
    own = order[np.arange(n_out) % n_in]
    signals = Signals(Tiles.of(features), Tiles.of(features[own]), n_samples)
    topology = Topology.empty((n_out, n_in))
    keys = largest_gradients(topology, np.zeros(0, np.bool_), signals, n_connections)
    return Topology.from_keys((n_out, n_in), keys.astype(OFFSET))


def _normalised(samples: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> Float32Array:
    """Rows of mean 0 and length 1, or 0 where nothing varies, float32[n, n_samples]."""
    n, n_samples = samples.shape
    centred = samples - samples.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    varies = length > np.finfo(VALUE).eps * np.abs(samples).max(axis=1, initial=0) * np.sqrt(n_samples)
    rows = np.zeros((n, n_samples), VALUE)
    rows[varies] = centred[varies] / length[varies, None]
    return rows
