"""Removing neurons from a network: every layer shrinks to the connections between the neurons that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, BoolArray, Float32Array, Int32Array, Int64Array
from hpc_sparse.kernels.growth import compaction as kernels
from hpc_sparse.network.connections.topology import Topology, TopologyChange
from hpc_sparse.network.partitioned.layer_share import LayerShare


@dataclass(frozen=True)
class NetworkChange:
    """A change of all layers of a network, made at once.

    Attributes
    ----------
    layers : tuple of TopologyChange
        Of each layer's connections to the layer below, from the input to the output.
    kept_neurons : tuple of (int64[width now] or None)
        One per layer of neurons, inputs first: the number each neuron had before, increasing; None if all stay.
    """

    layers: tuple[TopologyChange, ...]
    kept_neurons: tuple[Int64Array | None, ...]

    @property
    def n_connections(self) -> int:
        """Connections of all layers after the change."""
        return sum(change.topology.n_connections for change in self.layers)


def remove_neurons(
    topologies: Sequence[Topology], is_kept: Sequence[BoolArray], shares: Sequence[LayerShare] | None = None
) -> NetworkChange:
    """Remove neurons with their incoming and outgoing connections; the others are numbered anew, in order.

    Costs O(nnz) time and memory.

    Here and below, the topologies may be those of ``shares`` of layers: the change is then that of these rows.

    Parameters
    ----------
    topologies : sequence of Topology
        Of the layers, from the input to the output.
    is_kept : sequence of bool[width]
        One per layer of neurons, inputs first; at least one neuron of each must stay.
    shares : sequence of LayerShare or None
        None: all rows are here.
    """
    assert all(mask.any() for mask in is_kept), "a layer would lose all its neurons"
    kept = [None if mask.all() else np.flatnonzero(mask).astype(OFFSET) for mask in is_kept]
    layers = [
        _shrink(topology, kept_in, None if kept_out is None else share.targets.own_of(kept_out))
        for topology, share, (kept_in, kept_out) in zip(
            topologies, shares or _whole(topologies), pairwise(kept), strict=True
        )
    ]
    return NetworkChange(tuple(layers), tuple(kept))


def cut_incoming(
    topologies: Sequence[Topology], is_kept: Sequence[BoolArray], shares: Sequence[LayerShare] | None = None
) -> NetworkChange:
    """Take all incoming connections from the neurons that are not kept; all neurons stay, with their biases.

    Parameters as for :func:`remove_neurons`; what the mask of the inputs says has no effect.
    """
    layers = []
    for topology, share, mask in zip(topologies, shares or _whole(topologies), is_kept[1:], strict=True):
        own = mask[share.targets.first : share.targets.stop]
        old_row = np.where(own, np.arange(own.size, dtype=OFFSET), -1)
        layers.append(_select(topology, old_row, np.arange(topology.shape[1], dtype=INDEX), topology.shape[1]))
    return NetworkChange(tuple(layers), (None,) * len(is_kept))


def keep_connected(
    topologies: Sequence[Topology],
    weights: Sequence[Float32Array],
    is_kept: Sequence[BoolArray],
    shares: Sequence[LayerShare] | None = None,
) -> list[BoolArray]:
    """Keep a few more neurons where a layer would be left without any connection.

    Such a layer gets both ends of its strongest connection back (the first of equally strong ones), which
    can only add connections to its neighbours.

    Parameters
    ----------
    topologies : sequence of Topology
        Each with at least one connection.
    weights : sequence of float32[nnz]
    is_kept : sequence of bool[width]
        As for :func:`remove_neurons`; not changed.
    shares : sequence of LayerShare or None
        None: all rows are here; else the call is collective.

    Returns
    -------
    list of bool[width]
    """
    masks = [mask.copy() for mask in is_kept]
    of_layers = zip(topologies, weights, shares or _whole(topologies), pairwise(masks), strict=True)
    for topology, weight, share, (below, above) in of_layers:
        own = above[share.targets.first : share.targets.stop]
        if not share.exchange.total(kernels.has_survivor(topology.indptr, topology.indices, own, below)):
            out, in_ = _strongest(topology, weight, share)
            above[out], below[in_] = True, True
    return masks


def _strongest(topology: Topology, weight: Float32Array, share: LayerShare) -> tuple[int, int]:
    """Both ends of the strongest connection of a layer, the first of equally strong ones."""
    ends = np.full(2, -1, OFFSET)
    if (strongest := share.exchange.first_largest(np.abs(weight))) is not None:
        row = np.searchsorted(topology.indptr, strongest, side="right") - 1
        ends[:] = share.targets.first + row, topology.indices[strongest]
    out, in_ = share.exchange.gather(ends).max(axis=0).tolist()
    return out, in_


def _whole(topologies: Sequence[Topology]) -> list[LayerShare]:
    return [LayerShare.whole(topology) for topology in topologies]


def _shrink(topology: Topology, kept_in: Int64Array | None, kept_out: Int64Array | None) -> TopologyChange:
    n_out, n_in = topology.shape
    if kept_in is None and kept_out is None:
        return TopologyChange(topology, np.arange(topology.n_connections, dtype=OFFSET))
    old_row = np.arange(n_out, dtype=OFFSET) if kept_out is None else kept_out
    columns = np.arange(n_in, dtype=OFFSET) if kept_in is None else kept_in
    new_column = np.full(n_in, -1, INDEX)
    new_column[columns] = np.arange(columns.size, dtype=INDEX)
    change = _select(topology, old_row, new_column, columns.size)
    return TopologyChange(change.topology, change.old_position, kept_out)


def _select(topology: Topology, old_row: Int64Array, new_column: Int32Array, n_in: int) -> TopologyChange:
    """The connections of the chosen rows and columns, as the kernels understand the choice."""
    index = (topology.indptr, topology.indices, old_row, new_column)
    indptr = np.zeros(old_row.size + 1, OFFSET)
    kernels.count_survivors(*index, indptr[1:])
    np.cumsum(indptr, out=indptr)
    indices, old_position = np.empty(indptr[-1], INDEX), np.empty(indptr[-1], OFFSET)
    kernels.fill_survivors(*index, indptr, indices, old_position)
    return TopologyChange(Topology((old_row.size, n_in), indptr, indices), old_position)
