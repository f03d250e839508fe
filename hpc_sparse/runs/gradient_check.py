"""The gradients that training uses, against differences of the loss in double precision: the debug mode's self-test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, AnyArray, Float32Array, Float64Array, Int32Array
from hpc_sparse.errors import DivergedError
from hpc_sparse.inputs.batches import shuffled_batches
from hpc_sparse.network.activations import LINEAR
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.optimizers.sgd import VELOCITY, Sgd
from hpc_sparse.network.parameters import ParameterLayout
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.network.workspace import Workspace
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.shard_batches import ShardBatches
from hpc_sparse.training.trainer import is_served

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.05}
"""Shares of a layer's largest gradient, by how activations are stored; they come out at about 1e-6 and 1e-2."""

N_LARGEST, N_SPREAD = 2, 3
"""Weights checked per layer: those with the largest gradients, and some from its first connection to its last."""

STEP = 1e-5
"""By which a weight is moved in either direction."""

Gradients = list[dict[str, Float32Array]]
"""Gradients of each layer's parameters, by name."""


def check_gradients(job: TrainingJob, epoch: int) -> float:
    """Compare gradients of each rank's first batch of ``epoch`` with central differences (collective).

    Without dropout and with it; a few weights and a bias of every layer. The network stays as it is.

    Returns
    -------
    float
        The largest difference found on any rank, by the largest gradient of its layer.

    Raises
    ------
    DivergedError
        On every rank: a difference is larger than one of :data:`TOLERANCES`.
    """
    with collective_errors(job.ctx, "checking the gradients"):
        worst = _check_first_batch(job, epoch) if job.dataset.train.n_samples else 0.0
    largest: float = max(gather_objects(job.ctx, worst))
    return largest


def _check_first_batch(job: TrainingJob, epoch: int) -> float:
    shard, training = job.dataset.train, job.config.training
    first = shuffled_batches(shard.n_samples, training.batch_size, training.seed, epoch, job.ctx.replica)[:1]
    batch, labels = job.make_assembler().assemble(*next(iter(ShardBatches(job).batches(epoch, first))))
    dropouts = job.dropouts(epoch, 0)
    worst, objective = 0.0, make_objective(job.config)
    for dropout in ([Dropout(0.0, each.key) for each in dropouts], dropouts):
        gradients, factors = _computed_gradients(job, batch, labels, dropout)
        source = batch.matrix()[:, : labels.size].astype(np.float64)
        exact = _Exact(job.replica.network, source, factors, lambda sums: objective.exact_loss(sums, labels))
        for number, of_layer in enumerate(gradients):
            # In the order of the exact matrix.
            gradient = exact.connections[number].matrix(of_layer["weight"]).data
            found = _check_layer(exact, number, gradient, of_layer["bias"], TOLERANCES[training.activations])
            worst = max(worst, found)
    return worst


def _computed_gradients(
    job: TrainingJob, batch: Tiles, labels: Int32Array, dropouts: list[Dropout]
) -> tuple[Gradients, list[Float64Array]]:
    """Gradients that the kernels compute for a batch, and the dropout factor of each hidden activation."""
    network, workspace, objective = _copy(job.replica.network), job.make_workspace(), make_objective(job.config)
    if is_served(job.ctx, job.config) or not make_optimizer(job.config).is_fused:
        layout = ParameterLayout.of(network)
        gradients = layout.views(layout.new_vector())
        network.gradient_batch(batch, labels, objective, dropouts, workspace, gradients)
    else:
        # The first step from rest at rate 1: the velocities are the gradients with the other sign.
        replica = Replica.at_rest(network)
        replica.train_batch(batch, labels, objective, dropouts, Sgd(0.0), 1.0, workspace)
        gradients = [{name: -values for name, values in state[VELOCITY].items()} for state in replica.states]
    return gradients, _dropout_factors(network, workspace, dropouts, batch, labels.size)


def _dropout_factors(
    network: Network, workspace: Workspace, dropouts: list[Dropout], batch: Tiles, n_samples: int
) -> list[Float64Array]:
    """Dropout factors of the hidden activations: the outputs of layers whose activations are all 1."""
    factors = []
    source = batch.like(1)
    source.values.fill(0)
    for number, (layer, dropout) in enumerate(zip(network.layers[:-1], dropouts, strict=True)):
        n_out = layer.shape[0]
        ones = SparseLayer.of(Topology.empty((n_out, 1)), np.empty(0, VALUE), np.ones(n_out, VALUE), LINEAR)
        out = batch.like(n_out)
        ones.forward(source, out, workspace.saved(batch.n_columns)[number], dropout)
        factors.append(out.matrix()[:, :n_samples].astype(np.float64))
    return factors


def _copy(network: Network) -> Network:
    """A network in which every connection acts, with the weights that act in the given one."""
    layers: list[Layer] = [
        SparseLayer(each.incoming.acting().copy(), each.bias.copy(), each.slope, each.activation)
        for each in sparse_layers(network)
    ]
    return replace(network, layers=layers)


def _check_layer(
    exact: _Exact, number: int, weight_gradient: Float32Array, bias_gradient: Float32Array, tolerance: float
) -> float:
    """The largest difference among the checked parameters, divided by the layer's largest gradient."""
    pairs = [
        (float(gradient[position]), exact.slope_at(number, values, position))
        for gradient, values in (
            (weight_gradient, exact.matrices[number].data),
            (bias_gradient, exact.biases[number]),
        )
        for position in _positions(gradient)
    ]
    # Below the least single-precision number that computes at full precision, all gradients count as none.
    scale = max([float(np.finfo(VALUE).tiny), *(abs(value) for pair in pairs for value in pair)])
    worst = max((abs(computed - expected) for computed, expected in pairs), default=0.0) / scale
    if not worst <= tolerance:
        raise DivergedError(
            f"gradients of layer {number} differ from central differences by {worst:.1e} of the largest: expected at "
            f"most {tolerance:.0e}; kernels compute wrongly on this machine, or inputs or weights are not finite"
        )
    return worst


def _positions(gradient: Float32Array) -> list[int]:
    largest = np.argsort(-np.abs(gradient), kind="stable")[:N_LARGEST]
    spread = np.linspace(0, gradient.size - 1, min(N_SPREAD, gradient.size)).astype(OFFSET)
    return sorted({*largest.tolist(), *spread.tolist()})


class _Exact:
    """The loss of a batch in double precision, as a function of the parameters near those of a network.

    Each activation keeps to the side of 0 on which it is: there, the derivative by its weighted sum is a number.

    Parameters
    ----------
    network : Network
    batch : float64[n_in, n_samples]
    factors : list of float64[n, n_samples]
        Dropout factor of each hidden activation.
    loss : callable
        Mean loss of the output layer's weighted sums.
    """

    def __init__(
        self,
        network: Network,
        batch: Float64Array,
        factors: list[Float64Array],
        loss: Callable[[Float64Array], float],
    ) -> None:
        self._loss = loss
        self._sources, self._factors = [batch], list(factors)
        layers = sparse_layers(network)
        self.biases = [layer.bias.astype(np.float64) for layer in layers]
        self.connections = [layer.incoming for layer in layers]
        self.matrices = [layer.incoming.to_csr().astype(np.float64) for layer in layers]
        for number, factor in enumerate(factors):
            sums = self._sums(number, self._sources[number])
            self._factors[number] = np.where(sums < 0, layers[number].slope, 1.0) * factor
            self._sources.append(sums * self._factors[number])

    def slope_at(self, number: int, values: AnyArray, position: int) -> float:
        """Central difference of the loss by a number in ``values``, parameters of layer ``number``."""
        before = values[position]
        losses = []
        for step in (STEP, -STEP):
            values[position] = before + step
            losses.append(self._loss_from(number))
        values[position] = before
        return (losses[0] - losses[1]) / (2 * STEP)

    def _loss_from(self, number: int) -> float:
        source = self._sources[number]
        for layer in range(number, len(self.matrices) - 1):
            source = self._sums(layer, source) * self._factors[layer]
        return self._loss(self._sums(len(self.matrices) - 1, source))

    def _sums(self, number: int, source: Float64Array) -> Float64Array:
        sums: Float64Array = self.matrices[number] @ source + self.biases[number][:, np.newaxis]
        return sums
