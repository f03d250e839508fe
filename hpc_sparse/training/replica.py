"""What one rank trains: its network and its optimiser's state, and how they come from and go to a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpc_sparse.config import NetworkSection, RunConfig
from hpc_sparse.dtypes import Int32Array
from hpc_sparse.errors import ConfigError, DataError
from hpc_sparse.network.activations import negative_slopes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.densities import densities
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import LINEAR, Network
from hpc_sparse.network.objectives.losses import LOSSES
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.storage.checkpoint.layer_state import LayerState
from hpc_sparse.storage.dataset.samples import DatasetInfo

OUTPUT_ACTIVATION = "output"


@dataclass
class Replica:
    """One rank's network with the velocities of its optimiser."""

    network: Network
    velocities: list[Velocity]

    @classmethod
    def initial(cls, config: RunConfig, info: DatasetInfo) -> Replica:
        """The network before the first epoch, the same on every rank.

        Raises
        ------
        ConfigError
            A layer comes out without connections.
        DataError
            The loss does not fit the number of classes.
        """
        return cls.random(config, info.n_features, n_outputs(config, info))

    @classmethod
    def random(cls, config: RunConfig, n_inputs: int, n_outputs: int) -> Replica:
        """The network of a configuration between so many inputs and outputs, at rest.

        Raises
        ------
        ConfigError
            A layer comes out without connections.
        """
        widths = [n_inputs, *config.network.hidden, n_outputs]
        network = Network.random(
            widths,
            densities(config.network, widths),
            activation=config.network.activation,
            alpha=config.network.alpha,
            initializer=config.network.initializer,
            pattern=config.network.random_pattern,
            seed=config.training.seed,
        )
        for layer in network.layers:
            if not layer.topology.n_connections:
                n_out, n_in = layer.topology.shape
                key = "density" if config.network.epsilon is None else "epsilon"
                raise ConfigError(
                    f"network.{key} = {getattr(config.network, key)}: the layer of {n_in} x {n_out} neurons comes out "
                    "without connections; expected at least one in every layer"
                )
        _set_acting_share(network, config.network)
        return cls(network, network.resting_velocities())

    @classmethod
    def from_states(
        cls,
        config: NetworkSection,
        states: tuple[LayerState, ...],
        neuron_ids: Sequence[Int32Array | None] = (),
    ) -> Replica:
        """The replica that a checkpoint holds."""
        slopes = [*negative_slopes(config.activation, config.alpha, len(states) - 1), LINEAR]
        layers = [
            SparseLayer(Topology(state.shape, state.indptr, state.indices), state.weight, state.bias, slope)
            for state, slope in zip(states, slopes, strict=True)
        ]
        velocities = [Velocity(state.weight_velocity, state.bias_velocity) for state in states]
        network = Network(layers, list(neuron_ids))
        _set_acting_share(network, config)
        return cls(network, velocities)

    def to_states(self, activation: str) -> tuple[LayerState, ...]:
        """What a checkpoint stores of each layer."""
        names = [activation] * (len(self.network.layers) - 1) + [OUTPUT_ACTIVATION]
        return tuple(
            LayerState(
                shape=layer.topology.shape,
                activation=name,
                indptr=layer.topology.indptr,
                indices=layer.topology.indices,
                weight=layer.weight,
                bias=layer.bias,
                weight_velocity=velocity.weight,
                bias_velocity=velocity.bias,
            )
            for layer, velocity, name in zip(self.network.layers, self.velocities, names, strict=True)
        )

    def is_finite(self) -> bool:
        """Whether every weight and bias is a finite number."""
        # Infinities of both signs add up to not-a-number, of which NumPy would warn.
        with np.errstate(invalid="ignore"):
            totals = [
                layer.weight.sum(dtype=np.float64) + layer.bias.sum(dtype=np.float64) for layer in self.network.layers
            ]
        return bool(np.isfinite(totals).all())


def _set_acting_share(network: Network, config: NetworkSection) -> None:
    for layer in network.layers[:-1]:
        layer.acting_share = config.acting_share


def n_outputs(config: RunConfig, info: DatasetInfo) -> int:
    """Output neurons for the data set's classes under the configured loss.

    Raises
    ------
    DataError
        The loss is for two classes and the data set has another number.
    """
    loss = LOSSES[config.training.loss]
    if loss.is_binary and info.n_classes != 2:
        raise DataError(
            f'training.loss = "{loss.name}": for two classes, but {info.path} has {info.n_classes}; use "cross_entropy"'
        )
    return loss.n_outputs(info.n_classes)


def check_fits(network: Network, config: RunConfig, info: DatasetInfo, origin: str) -> None:
    """Check a network from ``origin`` (a checkpoint) against a data set.

    Raises
    ------
    DataError
        Its inputs or outputs are not as many as the data set's features or classes.
    """
    input_ids, n_out = network.neuron_ids[0], network.widths[-1]
    if input_ids is None and network.widths[0] != info.n_features:
        raise DataError(
            f"{info.path}: {info.n_features} features, but the network in {origin} has {network.widths[0]} inputs"
        )
    if input_ids is not None and input_ids[-1] >= info.n_features:
        raise DataError(
            f"{info.path}: {info.n_features} features, but the network in {origin} uses feature {input_ids[-1]}"
        )
    if n_out != n_outputs(config, info):
        raise DataError(f"{info.path}: {info.n_classes} classes, but the network in {origin} has {n_out} outputs")


def check_invariants(replica: Replica) -> None:
    """Assert that every topology is sound and every array aligned to it; the kernels rely on both."""
    for layer, velocity in zip(replica.network.layers, replica.velocities, strict=True):
        layer.topology.check()
        assert layer.weight.shape == velocity.weight.shape == (layer.topology.n_connections,)
        assert layer.bias.shape == velocity.bias.shape == (layer.topology.shape[0],)
