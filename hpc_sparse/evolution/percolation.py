"""Neurons that nothing reaches, or that reach nothing, lose their connections, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import BoolArray
from hpc_sparse.network.connections.topology import Topology


def percolate(topologies: Sequence[Topology], kept: Sequence[BoolArray], output: Topology) -> list[BoolArray]:
    """Unmark the connections into neurons without any output, then those out of neurons without any input; O(nnz).

    A neuron that is removed may take another's last connection: both sweeps go on through all layers.

    Parameters
    ----------
    topologies : sequence of Topology
        Topologies of consecutive layers.
    kept : sequence of bool[nnz]
        Not changed.
    output : Topology
        Topology of the layer after them, whose connections all stay.

    Returns
    -------
    list of bool[nnz]
    """
    masks = [mask.copy() for mask in kept]
    is_heard = output.fan_out() > 0
    for topology, mask in zip(reversed(topologies), reversed(masks), strict=True):
        mask[np.repeat(~is_heard, topology.fan_in())] = False
        is_heard = topology.fan_out(mask) > 0
    is_fed = np.ones(topologies[0].shape[1] if topologies else 0, np.bool_)
    for topology, mask in zip(topologies, masks, strict=True):
        mask[~is_fed[topology.indices]] = False
        is_fed = np.bincount(topology.outs()[mask], minlength=topology.shape[0]) > 0
    return masks
