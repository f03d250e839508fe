"""Loss and accuracy of a network on samples, spread over the ranks."""

from __future__ import annotations

from hpc_sparse.network.losses import Loss
from hpc_sparse.network.mlp import SparseMLP, Workspace
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset import Samples
from hpc_sparse.training.batches import BatchAssembler, ordered_batches


def evaluate(
    ctx: ParallelContext,
    network: SparseMLP,
    loss: Loss,
    shard: Samples,
    assembler: BatchAssembler,
    workspace: Workspace,
    batch_size: int,
) -> tuple[float, float]:
    """Mean loss and accuracy over the shards of all ranks, every sample counted once (collective).

    Returns
    -------
    loss, accuracy : float
        The same bits on every rank; not-a-number if there are no samples at all.
    """
    total, n_correct = 0.0, 0
    for chosen in ordered_batches(shard.n_samples, batch_size):
        batch, labels = assembler.assemble(shard, chosen)
        sums = network.forward(batch, workspace)
        delta = workspace.delta(len(network.layers) - 1, batch.shape[1])
        batch_loss, batch_correct = loss.evaluate(sums, labels, delta)
        total += batch_loss
        n_correct += batch_correct
    return mean_over_ranks(ctx, total, n_correct, shard.n_samples)


def mean_over_ranks(ctx: ParallelContext, loss: float, n_correct: int, n_samples: int) -> tuple[float, float]:
    """Mean loss and accuracy from each rank's sums, added in rank order (collective)."""
    parts = gather_objects(ctx, (loss, n_correct, n_samples))
    n = sum(part[2] for part in parts)
    if n == 0:
        return float("nan"), float("nan")
    return sum(part[0] for part in parts) / n, sum(part[1] for part in parts) / n
