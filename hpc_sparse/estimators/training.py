"""One fit: epochs of the trainer that runs use, on one rank, until they are over or nothing gets better."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hpc_sparse.estimators.arrays import Standardisation, make_dataset
from hpc_sparse.estimators.parameters import Parameters
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.losses import Loss
from hpc_sparse.network.optimizers.sgd import Velocity
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import Samples
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica import Replica


@dataclass
class FittedState:
    """What a fit leaves behind: predictions need it, and another fit can go on from it.

    Attributes
    ----------
    replica : Replica
        Network and velocities.
    seed : int
        Of every random stream.
    scaling : Standardisation or None
        Of the features.
    losses : list of float
        Mean training loss of each epoch so far.
    validation_losses : list of float
        Mean loss of each epoch that was followed by a validation.
    """

    replica: Replica
    seed: int
    scaling: Standardisation | None
    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        network, velocities = self.replica.network, self.replica.velocities
        if not all(layer.weight.flags.writeable for layer in network.layers):
            # Memory-mapped by joblib: kernels are compiled for arrays that can be written to, and training does.
            self.replica = Replica(_copied(network), [_copied_velocity(velocity) for velocity in velocities])
            if self.scaling is not None:
                self.scaling = np.array(self.scaling[0]), np.array(self.scaling[1])

    @property
    def n_epochs(self) -> int:
        """Epochs trained so far."""
        return len(self.losses)


def train(
    state: FittedState,
    parameters: Parameters,
    loss: Loss,
    samples: Samples,
    validation: Samples,
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
    dataset = make_dataset(samples, validation, state.replica.network.widths[-1], state.scaling)
    context = ParallelContext.serial(n_threads)
    trainer = LocalTrainer(TrainingJob(context, parameters.config, dataset, state.replica, SilentReporter()), loss=loss)
    best = _BestNetwork(parameters.fit.tol)
    for epoch in range(state.n_epochs + 1, state.n_epochs + n_epochs + 1):
        metrics = trainer.train_epoch(epoch)
        assert metrics is not None, "nobody asks this run to stop"
        state.losses.append(metrics.train_loss)
        if validation.n_samples:
            state.validation_losses.append(metrics.test_loss)
            best.consider(metrics.test_loss, state.replica.network)
            if best.n_waited >= parameters.fit.n_iter_no_change:
                break
    if best.network is not None:
        state.replica = Replica(best.network, best.network.resting_velocities())


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
    """A copy that shares no memory."""
    layers = [
        replace(
            layer,
            topology=Topology(layer.topology.shape, np.array(layer.topology.indptr), np.array(layer.topology.indices)),
            weight=np.array(layer.weight),
            bias=np.array(layer.bias),
        )
        for layer in network.layers
    ]
    return Network(layers, list(network.neuron_ids))


def _copied_velocity(velocity: Velocity) -> Velocity:
    return Velocity(np.array(velocity.weight), np.array(velocity.bias))
