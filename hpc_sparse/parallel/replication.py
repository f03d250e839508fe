"""Networks and topologies from one rank to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.collectives import broadcast_array, broadcast_object
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.transfer import receive_array, send_array


def broadcast_replica(ctx: ParallelContext, replica: Replica) -> None:
    """Replace every rank's network and states by root's, in place (collective).

    The ranks' networks must have the same kinds of layers and the same activations; all else may differ.
    """
    if ctx.size == 1:
        return
    network = replica.network
    described = [(layer.shape, _described(_arrays(layer, state))) for layer, state in _layers(replica)]
    described, network.neuron_ids = broadcast_object(ctx, (described, network.neuron_ids))
    for number, (shape, descriptions) in enumerate(described):
        layer, state = network.layers[number], replica.states[number]
        if ctx.is_root:
            for array in _arrays(layer, state).values():
                broadcast_array(ctx, array)
            continue
        arrays = {name: np.empty(size, dtype) for name, size, dtype in descriptions}
        for array in arrays.values():
            broadcast_array(ctx, array)
        replica.states[number] = OptimizerState(
            {each: {name: arrays[f"{each}/{name}"] for name in layer.parameters()} for each in state.values}
        )
        _rebuild(layer, shape, arrays, {name: arrays[f"value/{name}"] for name in layer.parameters()})


def topology_arrays(network: Network) -> list[AnyArray]:
    """All connections of a network as arrays of integers, which :func:`take_topology` understands.

    A changed topology is sent whole, at 4 bytes per connection. At SET's usual drop fraction, the positions of dropped
    and the keys of grown connections would take more.
    """
    arrays: list[AnyArray] = [np.array([layer.shape for layer in network.layers], OFFSET).reshape(-1)]
    input_ids = network.neuron_ids[0]
    arrays.append(np.empty(0, INDEX) if input_ids is None else input_ids)
    for layer in network.layers:
        arrays += _structure(layer).values()
    return arrays


def take_topology(network: Network, arrays: Sequence[AnyArray]) -> None:
    """Give a network the connections in ``arrays``, with parameters that are still to be set."""
    shapes, input_ids, *structures = arrays
    network.neuron_ids[0] = input_ids if input_ids.size else None
    left = iter(structures)
    for layer, (n_out, n_in) in zip(network.layers, shapes.reshape(-1, 2).tolist(), strict=True):
        _rebuild(layer, (n_out, n_in), {name: next(left) for name in _structure(layer)}, None)


def send_network(ctx: ParallelContext, network: Network, destination: int) -> None:
    """Send a network's connections and parameters to a rank that calls :func:`receive_network`."""
    arrays = topology_arrays(network)
    sizes = np.array([array.size for array in arrays], OFFSET)
    for array in (sizes, *arrays, *_parameters(network)):
        send_array(ctx, array, destination)


def receive_network(ctx: ParallelContext, like: Network, source: int) -> Network:
    """The network that rank ``source`` sends; of the same kinds of layers and activations as ``like``."""
    network = like.copy()
    network.neuron_ids = [None] * len(network.neuron_ids)
    sizes = np.empty(2 + sum(len(_structure(layer)) for layer in network.layers), OFFSET)
    receive_array(ctx, sizes, source)
    dtypes: list[np.typing.DTypeLike] = [OFFSET, INDEX]
    for _, connections in network.connections():
        first = len(dtypes)
        dtypes += connections.structure_dtypes(sizes[first : first + len(connections.structure())].tolist())
    arrays: list[AnyArray] = [np.empty(size, dtype) for size, dtype in zip(sizes, dtypes, strict=True)]
    for array in arrays:
        receive_array(ctx, array, source)
    take_topology(network, arrays)
    for array in _parameters(network):
        receive_array(ctx, array, source)
    return network


def _layers(replica: Replica) -> Iterator[tuple[Layer, OptimizerState]]:
    yield from zip(replica.network.layers, replica.states, strict=True)


def _structure(layer: Layer) -> dict[str, AnyArray]:
    """The structure of all connections of a layer; names are those of the connections and of their arrays."""
    return {
        f"{owner}/{name}": array
        for owner, connections in layer.connections().items()
        for name, array in connections.structure().items()
    }


def _arrays(layer: Layer, state: OptimizerState) -> dict[str, AnyArray]:
    return {
        **_structure(layer),
        **{f"value/{name}": parameter.values for name, parameter in layer.parameters().items()},
        **{f"{each}/{name}": values for each, own in state.values.items() for name, values in own.items()},
    }


def _described(arrays: Mapping[str, AnyArray]) -> list[tuple[str, int, str]]:
    return [(name, array.size, array.dtype.str) for name, array in arrays.items()]


def _rebuild(
    layer: Layer, shape: tuple[int, int], structure: Mapping[str, AnyArray], values: Mapping[str, Float32Array] | None
) -> None:
    """Give a layer another structure; parameters are not set where no values are given.

    Only layers whose one map is between all their neurons change their shape.
    """
    topologies, is_reshaped = {}, shape != layer.shape
    for owner, connections in layer.connections().items():
        own = {name: structure[f"{owner}/{name}"] for name in connections.structure()}
        topologies[owner] = connections.rebuilt(
            shape if is_reshaped else connections.shape, own, np.empty(0, VALUE)
        ).topology
    if values is None:
        sizes = {
            name: (shape[0] if is_reshaped else parameter.values.size)
            if parameter.connections is None
            else topologies[parameter.connections].n_connections
            * layer.connections()[parameter.connections].values_per_unit
            for name, parameter in layer.parameters().items()
        }
        values = {name: np.empty(size, VALUE) for name, size in sizes.items()}
    layer.rewire(shape, topologies, values)


def _parameters(network: Network) -> list[Float32Array]:
    return [parameter.values for layer in network.layers for parameter in layer.parameters().values()]
