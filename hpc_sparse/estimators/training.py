"""One fit: epochs of the trainer that runs use, on one rank, until they are over or nothing gets better."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hpc_sparse.dtypes import Float64Array
from hpc_sparse.estimators.arrays import make_dataset
from hpc_sparse.estimators.parameters import Parameters
from hpc_sparse.evolution import state_types
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.optimizers.state import OptimizerState, StateTypes
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import Samples
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer


@dataclass
class FittedState:
    """State after a fit, for predictions and for another fit that continues it.

    Attributes
    ----------
    replica : Replica
        Network and the state of its optimiser.
    seed : int
        Seed of every random stream.
    front_end : FrontEndChain
    losses : list of float
        Mean training loss of each epoch so far.
    validation_losses : list of float
        Mean loss of each epoch that was followed by a validation.
    origin : float64[n_features] or None
        What is subtracted from features before they become float32.
    settings : dict
        Parameters that another fit cannot change.
    """

    replica: Replica
    seed: int
    front_end: FrontEndChain
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    origin: Float64Array | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> FittedState:
        """The same to train on, which leaves this one as it is."""
        replica = Replica(self.replica.network.copy(), [state.copy() for state in self.replica.states])
        return replace(self, replica=replica, losses=list(self.losses), validation_losses=list(self.validation_losses))

    def add_states(self, types: StateTypes) -> None:
        """Begin the state arrays of these names that are missing: this fit may have another strategy than before."""
        for layer, own in zip(self.replica.network.layers, self.replica.states, strict=True):
            missing = {name: kind for name, kind in types.items() if name not in own.values}
            own.values.update(OptimizerState.at_rest(layer.parameters(), missing).values)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({"settings": {}} | state)
        network, states = self.replica.network, self.replica.states
        if not all(connections.weight.flags.writeable for _, connections in network.connections()):
            # Memory-mapped by joblib: kernels are compiled for arrays that can be written to, and training does.
            self.replica = Replica(_copied(network), [state.copy() for state in states])
            self.front_end = self.front_end.copied()

    @property
    def n_epochs(self) -> int:
        """Epochs trained so far."""
        return len(self.losses)


def fit(
    state: FittedState,
    parameters: Parameters,
    objective: Objective,
    samples: Samples,
    validation: Samples | None,
    *,
    n_epochs: int,
    n_threads: int,
) -> None:
    """Train ``state`` in place for ``n_epochs`` more epochs.

    With validation samples, stop when their loss has not fallen by more than ``tol`` for ``n_iter_no_change`` epochs,
    and leave the network that had the least.

    Raises
    ------
    DivergedError
        The loss or a weight is no longer a finite number.
    """
    state.add_states(state_types(parameters.config))
    dataset = make_dataset(samples, validation, state.replica.network.widths[-1])
    context = ParallelContext.serial(n_threads)
    job = TrainingJob(context, parameters.config, dataset, state.replica, SilentReporter(), fitted=state.front_end)
    trainer = LocalTrainer.start(job, objective=objective)
    best = _BestNetwork(parameters.fit.tol)
    for epoch in range(state.n_epochs + 1, state.n_epochs + n_epochs + 1):
        metrics = trainer.train_epoch(epoch)
        assert metrics is not None, "nobody asks this run to stop"
        state.losses.append(metrics.train_loss)
        if metrics.validation_loss is not None:
            state.validation_losses.append(metrics.validation_loss)
            best.consider(metrics.validation_loss, state.replica.network)
            if best.n_waited >= parameters.fit.n_iter_no_change:
                break
    if best.network is not None:
        state.replica = Replica.at_rest(best.network, state_types(parameters.config))


class _BestNetwork:
    """The network with the least loss so far, and for how many epochs there has been no progress."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance, self._least, self._limit = tolerance, np.inf, np.inf
        self.n_waited = 0
        self.network: Network | None = None

    def consider(self, loss: float, network: Network) -> None:
        """Take note of the network after one more epoch."""
        if loss < self._least:
            self._least, self.network = loss, _copied(network)
        is_progress = loss < self._limit
        self.n_waited = 0 if is_progress else self.n_waited + 1
        if is_progress:
            self._limit = loss - self._tolerance


def _copied(network: Network) -> Network:
    """A copy that shares no memory, not even of the connections' structure."""
    copied = network.copy()
    for layer in copied.layers:
        topologies = {}
        for owner, connections in layer.connections().items():
            structure = {name: np.array(array) for name, array in connections.structure().items()}
            topologies[owner] = connections.rebuilt(connections.shape, structure, connections.weight).topology
        layer.rewire(layer.shape, topologies, {name: each.values for name, each in layer.parameters().items()})
    return copied
