"""Inputs of an analysis: networks, topologies and SciPy matrices, converted to topologies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias, cast

import numpy as np
import scipy.sparse

from hpc_sparse.checks import check_csr
from hpc_sparse.dtypes import INDEX, MAX_NEURONS, Float64Array, Int32Array
from hpc_sparse.errors import ArrayError
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.storage.dataset.foreign_matrix import checked_matrix, is_sparse

Topologies: TypeAlias = Network | Sequence[Topology] | Sequence[Any]
"""A network; or its layers from the input on, as topologies or as SciPy sparse matrices (n_in, n_out)."""


def as_topologies(network: Topologies) -> list[Topology]:
    """The topologies of the layers, from the input to the output.

    Parameters
    ----------
    network : Network, sequence of Topology, or sequence of SciPy sparse matrices
        Matrices are (n_in, n_out), one column per neuron; nonzeros are connections. They are not changed.

    Raises
    ------
    ArrayError
        There is no layer, one is something else or has an index outside of its shape, or does not fit the one before;
        it is a ``ValueError``.
    """
    if isinstance(network, Network):
        with at_most_threads(None):
            return [connections.pairs() for _, connections in network.connections()]
    given: Any = network
    if not isinstance(given, Iterable) or is_sparse(given):
        raise ArrayError(f"a network of type {type(network).__name__}: expected a Network or a sequence of its layers")
    topologies = [
        _checked(layer, number) if isinstance(layer, Topology) else _from_matrix(layer, number)
        for number, layer in enumerate(given)
    ]
    if not topologies:
        raise ArrayError("a network of 0 layers: expected at least one layer of connections")
    for number, (before, layer) in enumerate(pairwise(topologies), 1):
        if layer.shape[1] != before.shape[0]:
            raise ArrayError(
                f"layer {number}: {layer.shape[1]} inputs: expected {before.shape[0]}, one per neuron below"
            )
    return topologies


def check_same_widths(first: Sequence[Topology], second: Sequence[Topology]) -> None:
    """Refuse to compare networks whose layers differ in number or width.

    Raises
    ------
    ArrayError
        They do.
    """
    if [topology.shape for topology in first] != [topology.shape for topology in second]:
        raise ArrayError(
            f"networks of widths {_widths(first)} and {_widths(second)}: expected the same to compare them"
        )


def in_original_numbers(
    topologies: Sequence[Topology], neuron_ids: Sequence[Int32Array | None], widths: Sequence[int]
) -> list[Topology]:
    """The topologies with the neurons that were removed, who have no connections.

    Parameters
    ----------
    topologies : sequence of Topology
    neuron_ids : sequence of (int32[width now] or None)
        One per layer of neurons, inputs first: their original numbers, increasing; None if none was removed.
    widths : sequence of int
        Neurons per layer before any was removed.
    """
    return [
        topology.spread((n_out, n_in), ids_out, ids_in)
        for topology, (ids_in, ids_out), (n_in, n_out) in zip(
            topologies, pairwise(neuron_ids), pairwise(widths), strict=True
        )
    ]


def sum_incoming(topology: Topology, values: Float64Array) -> Float64Array:
    """For each output neuron the sum of its inputs' values, (n_in,) or (n_in, k); takes 8 bytes per connection."""
    return np.asarray(_matrix(topology) @ values, np.float64)


def sum_outgoing(topology: Topology, values: Float64Array) -> Float64Array:
    """For each input neuron the sum of the values of those it leads to, (n_out,) or (n_out, k); memory as above."""
    return np.asarray(_matrix(topology).T @ values, np.float64)


def _matrix(topology: Topology) -> Any:
    """A SciPy matrix (n_out, n_in) of ones."""
    return topology.matrix(np.ones(topology.n_connections))


def _widths(topologies: Sequence[Topology]) -> str:
    return "-".join(str(width) for width in (topologies[0].shape[1], *(topology.shape[0] for topology in topologies)))


def _checked(topology: Topology, number: int) -> Topology:
    """A topology that a caller may have made: kernels rely on its indices."""
    n_out, n_in = topology.shape
    for name, array in (("indptr", topology.indptr), ("indices", topology.indices)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ArrayError(f"layer {number}: {name}: {array.dtype}{list(array.shape)}: expected whole numbers")
    if topology.indptr.size != n_out + 1:
        raise ArrayError(f"layer {number}: indptr: {topology.indptr.size} numbers: must be {n_out + 1}")
    check_csr(f"layer {number}", *topology.rows, n_in, error=ArrayError)
    if topology.indices.dtype == INDEX and topology.indices.flags.carray:
        return topology
    return Topology(topology.shape, topology.indptr, np.ascontiguousarray(topology.indices, INDEX))


def _from_matrix(matrix: Any, number: int) -> Topology:
    shape: tuple[int, ...] = getattr(matrix, "shape", ())
    if not scipy.sparse.issparse(matrix) or len(shape) != 2 or not all(0 < n <= MAX_NEURONS for n in shape):
        what = f"{type(matrix).__name__} of shape {shape}"
        raise ArrayError(f"layer {number}: {what}: expected a SciPy sparse matrix (n_in, n_out) or a Topology")
    checked = checked_matrix(f"layer {number}", matrix)
    columns: Any = scipy.sparse.csc_array(cast("Any", checked), copy=True)
    columns = scipy.sparse.csc_array((columns.data, columns.indices, columns.indptr), shape=shape)
    columns.sum_duplicates()
    columns.eliminate_zeros()
    return Topology.from_matrix(scipy.sparse.csr_array(columns.T))
