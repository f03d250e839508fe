"""Served runs that repeat and go on, with as many ranks and with others."""

from __future__ import annotations

from typing import Any

import pytest

from hpc_sparse.models.merged import read_merged
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.parallel.collectives import barrier
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info


@pytest.mark.mpi(ranks=[4])
def test_a_wassp_run_repeats_and_resumes_bit_by_bit_in_both_phases_and_at_their_border(run: Any) -> None:
    # Three workers: the order in which they are added up matters. Enough weights for reductions to take their long way.
    options = (
        *("parallel.algorithm=wassp", "training.epochs=6", "parallel.phase2_share=0.5", "checkpoint.every_epochs=1"),
        *("network.hidden=[70, 60]", "network.epsilon=30", "optimizer.momentum_correction=true"),
        *("optimizer.warmup_epochs=2", "optimizer.warmup_from=unscaled"),
        *("importance_pruning.mode=compact", "importance_pruning.after_epoch=1", "importance_pruning.every_epochs=1"),
    )
    whole, folder = run(*options)
    assert [line["phase"] for line in whole] == [1, 1, 1, 2, 2, 2]
    again, other = run(*options)
    assert again == whole
    assert run.state(other, 5) == run.state(folder, 5)
    for n_done in (2, 3, 4):
        resumed, other = run(*options, resume=run.checkpoint(folder, n_done))
        assert resumed == whole, n_done
        for epoch in range(n_done + 1, 7):
            assert run.state(other, epoch) == run.state(folder, epoch), (n_done, epoch)
    assert [read_checkpoint_info(run.checkpoint(folder, epoch)).n_replicas for epoch in range(1, 7)] == [
        0,
        0,
        0,
        3,
        3,
        0,
    ]


@pytest.mark.mpi(ranks=[4])
def test_a_checkpoint_of_phase_2_goes_on_elsewhere_from_the_average_and_is_evaluated_as_that(
    ctx: ParallelContext, run: Any
) -> None:
    options = ("training.epochs=6", "parallel.phase2_share=0.5", "checkpoint.every_epochs=1")
    _, folder = run(*options)
    targets = run.layer_sizes(folder, 3)
    of_each = read_replicas(run.checkpoint(folder, 5))
    keys = [{layer.arrays()["connections/input/indices"].tobytes() for layer in each.layers[:1]} for each in of_each]
    assert len(set.union(*keys)) == 3
    network = StoredNetwork.read(ctx, run.checkpoint(folder, 5))
    _, accuracy = network.evaluate(ctx, network.replica.network, network.load_data(ctx, run.folder / "data.h5"))
    _, merged = read_merged(run.checkpoint(folder, 5), network.config)
    assert [layer.topology.n_connections for layer in merged.network.layers] == targets
    assert accuracy > 0.5

    assert ctx.comm is not None
    # One worker, or none: served and sequential training.
    for size in (2, 1):
        part = ctx.comm.Split(ctx.rank < size, ctx.rank)
        smaller = ParallelContext.from_comm(part, threads=1)
        if ctx.rank < size:
            metrics, other = run(*options, context=smaller, resume=run.checkpoint(folder, 5), name=f"on-{size}")
            assert [line["epoch"] for line in metrics] == [1, 2, 3, 4, 5, 6]
            assert run.layer_sizes(other, 6) == targets
            assert metrics[-1]["test_accuracy"] > 0.5
        barrier(ctx)
    # As many workers, but a longer run: again in phase 1.
    longer = ("training.epochs=8", "parallel.phase2_share=0.25")
    metrics, other = run(*options, *longer, resume=run.checkpoint(folder, 5), name="longer")
    assert [line["phase"] for line in metrics] == [1, 1, 1, 2, 2, 1, 2, 2]
    assert run.layer_sizes(other, 8) == targets
