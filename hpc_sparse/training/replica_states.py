"""New replicas, and replicas from and to checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import Int32Array
from hpc_sparse.errors import ConfigError, DataError, FileFormatError
from hpc_sparse.evolution import lasting_states, make_updater, optional_states, state_types
from hpc_sparse.inputs.sequences import n_inputs, n_places
from hpc_sparse.kernels.simd.machine import WIDTHS, tile_width
from hpc_sparse.network.blueprint import NONE_GIVEN, LayerBlueprint, blueprints
from hpc_sparse.network.connections.protocol import Connections
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.partitioned.division import assembled, check_layer_divisible
from hpc_sparse.network.partitioned.exchange import Exchange
from hpc_sparse.network.partitioned.network import PartitionedNetwork
from hpc_sparse.network.partitioned.stored import part_states
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import BatchShape
from hpc_sparse.network.workspace import input_shapes
from hpc_sparse.parallel.collectives import collective_errors
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import DatasetInfo


def initial_replica(config: RunConfig, info: DatasetInfo, given: Mapping[int, Topology] = NONE_GIVEN) -> Replica:
    """The network before the first epoch, the same on every rank.

    ``given`` are connections that are not drawn, by the number of the layer.

    Raises
    ------
    ConfigError
        A layer comes out without connections.
    DataError
        The loss does not fit the number of classes, or layers read sequences and the samples are none.
    """
    sizes = n_inputs(config, info), n_outputs(config, info), n_places(config, info)
    return random_replica(config, *sizes, reads_tokens=info.n_tokens > 0, given=given)


def random_replica(
    config: RunConfig,
    n_inputs: int,
    n_outputs: int,
    steps: int = 1,
    *,
    reads_tokens: bool = False,
    given: Mapping[int, Topology] = NONE_GIVEN,
) -> Replica:
    """The network of a configuration between so many inputs and outputs of each place, at rest.

    Raises
    ------
    ConfigError
        A layer comes out without connections.
    """
    network = Network.from_config(
        config.network,
        n_inputs,
        n_outputs,
        seed=config.training.seed,
        acting_share=make_updater(config.evolution).acting_share,
        n_places=steps,
        reads_tokens=reads_tokens,
        given=given,
    )
    for _, connections in network.connections():
        _check_connected(config, connections)
    return Replica.at_rest(network, state_types(config))


def initial_part(
    exchange: Exchange, config: RunConfig, info: DatasetInfo, given: Mapping[int, Topology] = NONE_GIVEN
) -> Replica:
    """The part of this rank of :func:`initial_replica`, of which it has no more than one layer whole (collective).

    Raises
    ------
    ConfigError, DataError
        On every rank, as there.
    """
    settings: Any = {"seed": config.training.seed, "n_places": n_places(config, info), "given": given}
    n_in, n_out = n_inputs(config, info), n_outputs(config, info)
    plans = blueprints(config.network, n_in, n_out, **settings, reads_tokens=info.n_tokens > 0)
    widths = [plans[0].shape[1], *(plan.shape[0] for plan in plans)]
    layers = (_initial_layer(config, plan) for plan in plans)
    return assembled(exchange, layers, len(plans), [], tile_width([*widths, *widths[1:]]))


def _initial_layer(config: RunConfig, plan: LayerBlueprint) -> tuple[SparseLayer, OptimizerState]:
    layer = SparseLayer.random(plan)
    _check_connected(config, layer.incoming)
    return layer, OptimizerState.at_rest(layer.parameters(), state_types(config))


def _check_connected(config: RunConfig, connections: Connections) -> None:
    if connections.weight.size:
        return
    n_out, n_in = connections.shape
    key = "density" if config.network.epsilon is None else "epsilon"
    raise ConfigError(
        f"network.{key} = {getattr(config.network, key)}: the layer of {n_in} x {n_out} neurons comes out "
        "without connections; expected at least one in every layer"
    )


def replica_from_states(
    config: RunConfig,
    states: Sequence[LayerState],
    neuron_ids: Sequence[Int32Array | None] = (),
    origin: str = "checkpoint",
    width: int = 0,
) -> Replica:
    """The replica that a checkpoint, ``origin``, holds.

    ``width`` is that of the tiles of the run before; 0, or one that the machine lacks: what suits the machine.

    Raises
    ------
    FileFormatError
        A layer has an activation that is not known, or the states are not those of the optimiser.
    """
    layers: list[Layer] = []
    optimizers: list[OptimizerState] = []
    for number, state in enumerate(states):
        layer, optimizer = _layer_from_state(config, state, number, len(states), origin)
        layers.append(layer)
        optimizers.append(optimizer)
    network = Network(layers, list(neuron_ids), tile_width=width if width in WIDTHS else 0)
    for number, (layer, shape) in enumerate(
        zip(layers, input_shapes(layers, BatchShape(1, network.n_places)), strict=True)
    ):
        if layer.n_places not in {1, shape.n_places}:
            raise FileFormatError(
                f"{origin}: layer {number} reads {layer.n_places} places: expected {shape.n_places}, which the layers "
                "below give"
            )
    if network.n_places_out > 1 and not config.network.gives_sequences:
        raise FileFormatError(f"{origin}: several places reach the output layer: expected a layer that ends them")
    return Replica(network, optimizers)


def part_from_states(
    ctx: ParallelContext,
    exchange: Exchange,
    config: RunConfig,
    states: Iterator[LayerState],
    n_layers: int,
    neuron_ids: Sequence[Int32Array | None] = (),
    origin: str = "checkpoint",
    width: int = 0,
) -> Replica:
    """The part of this rank of :func:`replica_from_states`, of layers that are read one after the other (collective).

    Parameters
    ----------
    ctx : ParallelContext
        All ranks, of all replicas.
    exchange : Exchange
        Between the parts of this replica.
    config, neuron_ids, origin
        As there.
    states : iterator of LayerState
    n_layers : int
    width : int
        Of the tiles.

    Raises
    ------
    FileFormatError, InputError
        On every rank, as there, or of a kind that cannot be divided.
    """

    def layers() -> Iterator[tuple[SparseLayer, OptimizerState]]:
        for number in range(n_layers):
            state = next(states)
            with collective_errors(ctx, "resuming"):
                layer, optimizer = _layer_from_state(config, state, number, n_layers, origin)
                check_layer_divisible(number, layer, optimizer)
            assert isinstance(layer, SparseLayer)
            del state
            yield layer, optimizer
            del layer, optimizer

    return assembled(exchange, layers(), n_layers, neuron_ids, width)


def _layer_from_state(
    config: RunConfig, state: LayerState, number: int, n_layers: int, origin: str
) -> tuple[Layer, OptimizerState]:
    updater, required = make_updater(config.evolution), make_optimizer(config).state_types
    try:
        layer = LAYERS[state.kind].from_state(
            state, config.network, number, acting_share=updater.acting_share, is_last=number == n_layers - 1
        )
        arrays = layer.parameters(), state.states, required, optional_states(config), lasting_states()
        return layer, OptimizerState.from_arrays(*arrays)
    except ValueError as error:
        raise FileFormatError(f"{origin}: layer {number}: {error}") from error


def replica_to_states(replica: Replica) -> tuple[LayerState, ...]:
    """What a checkpoint stores of each layer, of a network in parts those of this rank (collective)."""
    if isinstance(replica.network, PartitionedNetwork):
        return part_states(replica)
    return tuple(
        LayerState(
            kind=layer.kind,
            shape=layer.shape,
            activation=layer.activation,
            connections={name: connections.state() for name, connections in layer.connections().items()},
            parameters={name: parameter.values for name, parameter in layer.parameters().items()},
            states=state.arrays(),
            settings=layer.settings(),
        )
        for layer, state in zip(replica.network.layers, replica.states, strict=True)
    )


def n_outputs(config: RunConfig, info: DatasetInfo) -> int:
    """Output neurons for the data set's classes under the configured loss.

    Raises
    ------
    DataError
        The loss is for two classes and the data set has another number.
    """
    objective = make_objective(config)
    if objective.is_binary and info.n_classes != 2:
        raise DataError(
            f'training.loss = "{objective.name}": for two classes, but {info.path} has {info.n_classes}; use '
            '"cross_entropy"'
        )
    return objective.n_outputs(info.n_classes)


def check_fits(network: Network, config: RunConfig, info: DatasetInfo, origin: str) -> None:
    """Check a network from ``origin`` (a checkpoint) against a data set.

    Raises
    ------
    DataError
        Its inputs or outputs are not as many as the data set's features or classes.
    """
    input_ids, n_out = network.neuron_ids[0], network.widths[-1]
    if input_ids is None and network.n_inputs != info.n_features:
        raise DataError(
            f"{info.path}: {info.n_features} features, but the network in {origin} has {network.n_inputs} inputs"
        )
    reads_sequences = any(layer.section.reads_sequences for layer in network.layers)
    if reads_sequences and network.n_places not in {1, info.time_steps}:
        raise DataError(
            f"{info.path}: time_steps = {info.time_steps}, but the network in {origin} reads {network.n_places} steps"
        )
    if input_ids is not None and input_ids[-1] >= info.n_features:
        raise DataError(
            f"{info.path}: {info.n_features} features, but the network in {origin} uses feature {input_ids[-1]}"
        )
    if network.n_tokens != info.n_tokens:
        found, wanted = (f"tokens of {n}" if n else "numbers" for n in (info.n_tokens, network.n_tokens))
        raise DataError(f"{info.path}: {found}, but the network in {origin} reads {wanted}")
    if (network.n_places_out > 1) != info.has_step_labels:
        found, wanted = ("step" if each else "sample" for each in (info.has_step_labels, network.n_places_out > 1))
        raise DataError(
            f"{info.path}: labels of each {found}, but the network in {origin} has outputs of each {wanted}"
        )
    if n_out != n_outputs(config, info):
        raise DataError(f"{info.path}: {info.n_classes} classes, but the network in {origin} has {n_out} outputs")
