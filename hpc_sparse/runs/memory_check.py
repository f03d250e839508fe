"""Check of a run's memory before anything is loaded or built."""

from __future__ import annotations

from dataclasses import replace

from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.machine import available_memory
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.refusal import refuse_what_cannot_fit
from hpc_sparse.runs.plan import RunPlan
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.training.replica_states import (
    n_outputs,
)


def check_memory(ctx: ParallelContext, plan: RunPlan) -> None:
    """Refuse a run whose ranks will not fit into their nodes (collective).

    Raises
    ------
    MachineError
        On every rank: at least one node has less memory left than its ranks will ask for.
    """
    if not plan.config.runtime.memory_check:
        return
    size = on_root(ctx, lambda: starting_size(plan))
    with collective_errors(ctx, "looking at the memory"):
        memory = plan_memory(plan.config, size, plan.info, ctx.size)
        refuse_what_cannot_fit(memory, size, available_memory(), ctx.node_size)


def starting_size(plan: RunPlan) -> NetworkSize:
    """Size of the network that a run begins with: a new one, or the checkpoint's, which may have been pruned."""
    if plan.checkpoint is None:
        return NetworkSize.expected(plan.config.network, plan.info.n_features, n_outputs(plan.config, plan.info))
    layers = read_checkpoint_info(plan.checkpoint).layers
    size = NetworkSize.of_layers((layer.shape, layer.n_connections) for layer in layers)
    sections = [plan.config.network.layer(number) for number in range(len(layers) - 1)]
    hidden = [
        replace(layer, connections=own.connections, unit=own.unit)
        for layer, own in zip(size.layers, sections, strict=False)
    ]
    return NetworkSize((*hidden, size.layers[-1]))
