"""New replicas, and replicas from and to checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import Int32Array
from hpc_sparse.errors import ConfigError, DataError, FileFormatError
from hpc_sparse.evolution import lasting_states, make_updater, optional_states, state_types
from hpc_sparse.inputs.sequences import n_inputs, n_places
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.registry import LAYERS
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.partitioned.network import PartitionedNetwork
from hpc_sparse.network.partitioned.stored import part_states
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import BatchShape
from hpc_sparse.network.workspace import input_shapes
from hpc_sparse.storage.dataset.samples import DatasetInfo


def initial_replica(config: RunConfig, info: DatasetInfo) -> Replica:
    """The network before the first epoch, the same on every rank.

    Raises
    ------
    ConfigError
        A layer comes out without connections.
    DataError
        The loss does not fit the number of classes, or layers read sequences and the samples are none.
    """
    steps = n_places(config, info)
    reads_tokens = info.n_tokens > 0
    return random_replica(config, n_inputs(config, info), n_outputs(config, info), steps, reads_tokens=reads_tokens)


def random_replica(
    config: RunConfig, n_inputs: int, n_outputs: int, steps: int = 1, *, reads_tokens: bool = False
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
    )
    for _, connections in network.connections():
        if not connections.weight.size:
            n_out, n_in = connections.shape
            key = "density" if config.network.epsilon is None else "epsilon"
            raise ConfigError(
                f"network.{key} = {getattr(config.network, key)}: the layer of {n_in} x {n_out} neurons comes out "
                "without connections; expected at least one in every layer"
            )
    return Replica.at_rest(network, state_types(config))


def replica_from_states(
    config: RunConfig,
    states: Sequence[LayerState],
    neuron_ids: Sequence[Int32Array | None] = (),
    origin: str = "checkpoint",
    tile_width: int = 0,
) -> Replica:
    """The replica that a checkpoint, ``origin``, holds.

    ``tile_width`` is that of the run before; 0, or one that the machine lacks: what suits the machine.

    Raises
    ------
    FileFormatError
        A layer has an activation that is not known, or the states are not those of the optimiser.
    """
    updater, required = make_updater(config.evolution), make_optimizer(config).state_types
    layers: list[Layer] = []
    optimizers: list[OptimizerState] = []
    for number, state in enumerate(states):
        try:
            layer = LAYERS[state.kind].from_state(
                state, config.network, number, acting_share=updater.acting_share, is_last=number == len(states) - 1
            )
            optimizers.append(
                OptimizerState.from_arrays(
                    layer.parameters(), state.states, required, optional_states(config), lasting_states()
                )
            )
        except ValueError as error:
            raise FileFormatError(f"{origin}: layer {number}: {error}") from error
        layers.append(layer)
    width = tile_width if tile_width in WIDTHS else 0
    network = Network(layers, list(neuron_ids), tile_width=width)
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
