"""The gradients that training uses, against differences of the loss in double precision: the debug mode's self-test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from hpc_sparse.dtypes import OFFSET, VALUE, Float32Array, Float64Array, Int32Array
from hpc_sparse.errors import DivergedError
from hpc_sparse.inputs.batches import shuffled_batches
from hpc_sparse.network.activations import LINEAR
from hpc_sparse.network.connections.reserve import ALL_ACT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer, sparse_layers
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.optimizers.sgd import VELOCITY, Sgd
from hpc_sparse.network.parameters import ParameterLayout
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tokens import Batch
from hpc_sparse.network.workspace import Workspace, output_shapes
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.runs.exact_network import ExactNetwork
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.shard_batches import ShardBatches
from hpc_sparse.training.trainer import is_served

TOLERANCES = {"float32": 1e-3, "bfloat16": 0.05}
"""Shares of a layer's largest gradient, by how activations are stored; they come out at about 1e-6 and 1e-2."""

N_LARGEST, N_SPREAD = 2, 3
"""Weights checked per layer: those with the largest gradients, and some from its first connection to its last."""

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
    worst, objective = 0.0, job.objective
    for dropout in ([Dropout(0.0, each.key) for each in dropouts], dropouts):
        gradients, factors = _computed_gradients(job, batch, labels, dropout)
        source, lengths = batch.exact(len(labels)), None if batch.lengths is None else batch.lengths[: len(labels)]
        network = _copy(job.replica.network)
        exact = ExactNetwork(network, source, factors, lambda sums: objective.exact_loss(sums, labels), lengths)
        for number, of_layer in enumerate(gradients):
            worst = max(worst, _check_layer(exact, number, of_layer, TOLERANCES[training.activations]))
    return worst


def _computed_gradients(
    job: TrainingJob, batch: Batch, labels: Int32Array, dropouts: list[Dropout]
) -> tuple[Gradients, list[Float64Array | None]]:
    """Gradients that the kernels compute for a batch, and the dropout factor of each hidden activation."""
    network, workspace, objective = (
        _copy(job.replica.network),
        job.make_workspace(),
        job.objective,
    )
    if is_served(job.ctx, job.config) or not make_optimizer(job.config).is_fused:
        layout = ParameterLayout.of(network)
        gradients = layout.views(layout.new_vector())
        network.gradient_batch(batch, labels, objective, dropouts, workspace, gradients)
    else:
        # The first step from rest at rate 1: the velocities are the gradients with the other sign.
        replica = Replica.at_rest(network)
        replica.train_batch(batch, labels, objective, dropouts, Sgd(0.0), 1.0, workspace)
        gradients = [{name: -values for name, values in state[VELOCITY].items()} for state in replica.states]
    return gradients, _dropout_factors(network, workspace, dropouts, batch, len(labels))


def _dropout_factors(
    network: Network, workspace: Workspace, dropouts: list[Dropout], batch: Batch, n_samples: int
) -> list[Float64Array | None]:
    """Dropout factors of the hidden activations: outputs of layers whose activations are all 1; None: no dropout."""
    factors = list[Float64Array | None]()
    shapes, saved = output_shapes(network.layers, batch.batch), workspace.saved(batch.batch.n_samples)
    for layer, dropout, shape, own in zip(network.layers[:-1], dropouts, shapes, saved, strict=False):
        if layer.gate(own, dropout) is None:
            factors.append(None)
            continue
        n_out = layer.shape[0]
        ones = SparseLayer.of(Topology.empty((n_out, 1)), np.empty(0, VALUE), np.ones(n_out, VALUE), LINEAR)
        source, out = batch.like(1, shape), batch.like(n_out, shape)
        source.values.fill(0)
        ones.forward(source, out, own, dropout)
        factors.append(out.exact(n_samples))
    return factors


def _copy(network: Network) -> Network:
    """A network in which every connection acts, with the weights that act in the given one."""
    return replace(network, layers=[_acting(layer) for layer in network.layers])


def _acting(layer: Layer) -> Layer:
    if all(getattr(each, "acting_share", ALL_ACT) == ALL_ACT for each in layer.connections().values()):
        return layer.copy()
    (own,) = sparse_layers(Network([layer]))
    return SparseLayer(own.incoming.acting().copy(), own.bias.copy(), own.slope, own.activation)


def _check_layer(exact: ExactNetwork, number: int, gradients: Mapping[str, Float32Array], tolerance: float) -> float:
    """The largest difference among the checked parameters, divided by the layer's largest gradient."""
    pairs = [
        (float(gradient[position]), exact.slope_at(number, exact.values[number][name], position))
        for name, gradient in gradients.items()
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
