"""Networks and topologies from one rank to others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, pointer_dtype
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.parallel.collectives import broadcast_array, broadcast_object
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.transfer import receive_array, send_array


def broadcast_network(ctx: ParallelContext, network: Network, velocities: list[Velocity]) -> None:
    """Replace every rank's network and velocities by root's, in place (collective).

    The ranks' networks must have the same number of layers and the same activations; all else may differ.
    """
    if ctx.size == 1:
        return
    sizes = [(layer.topology.shape, layer.topology.n_connections) for layer in network.layers]
    sizes, network.neuron_ids = broadcast_object(ctx, (sizes, network.neuron_ids))
    for number, (shape, n_connections) in enumerate(sizes):
        layer, velocity = network.layers[number], velocities[number]
        n_out = shape[0]
        arrays: list[AnyArray] = (
            [layer.topology.indptr, layer.topology.indices, layer.weight, layer.bias, velocity.weight, velocity.bias]
            if ctx.is_root
            else [
                np.empty(n_out + 1, pointer_dtype(n_connections)),
                np.empty(n_connections, INDEX),
                np.empty(n_connections, VALUE),
                np.empty(n_out, VALUE),
                np.empty(n_connections, VALUE),
                np.empty(n_out, VALUE),
            ]
        )
        for array in arrays:
            broadcast_array(ctx, array)
        if not ctx.is_root:
            topology = Topology(shape, arrays[0], arrays[1])
            network.layers[number] = replace(layer, topology=topology, weight=arrays[2], bias=arrays[3])
            velocities[number] = Velocity(arrays[4], arrays[5])


def topology_arrays(network: Network) -> list[AnyArray]:
    """All connections of a network as arrays of integers, which :func:`take_topology` understands.

    They are sent whole when they have changed: at SET's usual drop fraction, 4 bytes per connection are fewer than the
    positions of the dropped and the keys of the grown ones would take.
    """
    arrays: list[AnyArray] = [np.array([layer.topology.shape for layer in network.layers], OFFSET).reshape(-1)]
    input_ids = network.neuron_ids[0]
    arrays.append(np.empty(0, INDEX) if input_ids is None else input_ids)
    for layer in network.layers:
        arrays += [layer.topology.indptr, layer.topology.indices]
    return arrays


def take_topology(network: Network, arrays: list[AnyArray]) -> None:
    """Give a network the connections in ``arrays``, with weights and biases that are still to be set."""
    shapes, input_ids, *indices = arrays
    network.neuron_ids[0] = input_ids if input_ids.size else None
    for number, (layer, shape) in enumerate(zip(network.layers, shapes.reshape(-1, 2).tolist(), strict=True)):
        topology = Topology((shape[0], shape[1]), indices[2 * number], indices[2 * number + 1])
        weight, bias = np.empty(topology.n_connections, VALUE), np.empty(shape[0], VALUE)
        network.layers[number] = replace(layer, topology=topology, weight=weight, bias=bias)


def send_network(ctx: ParallelContext, network: Network, destination: int) -> None:
    """Send a network's connections, weights and biases to a rank that calls :func:`receive_network`."""
    arrays = topology_arrays(network)
    sizes = np.array([array.size for array in arrays], OFFSET)
    for array in (sizes, *arrays, *_parameters(network)):
        send_array(ctx, array, destination)


def receive_network(ctx: ParallelContext, like: Network, source: int) -> Network:
    """The network that rank ``source`` sends; as many layers and the same activations as ``like``."""
    network = Network(list(like.layers))
    sizes = np.empty(2 + 2 * len(network.layers), OFFSET)
    receive_array(ctx, sizes, source)
    dtypes: list[type[np.integer[Any]]] = [OFFSET, INDEX]
    for n_connections in sizes[3::2]:
        dtypes += [pointer_dtype(n_connections), INDEX]
    arrays: list[AnyArray] = [np.empty(size, dtype) for size, dtype in zip(sizes, dtypes, strict=True)]
    for array in arrays:
        receive_array(ctx, array, source)
    take_topology(network, arrays)
    for array in _parameters(network):
        receive_array(ctx, array, source)
    return network


def _parameters(network: Network) -> list[Float32Array]:
    return [array for layer in network.layers for array in (layer.weight, layer.bias)]
