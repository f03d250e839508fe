"""Check of a run's memory before anything is loaded or built."""

from __future__ import annotations

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
    given = {each.layer: each.connections for each in plan.topology_files}
    new = NetworkSize.of_run(plan.config, plan.info, n_outputs(plan.config, plan.info), given)
    if plan.checkpoint is None:
        return new
    stored = [
        {name: (each.shape, each.n_values[0]) for name, each in layer.connections.items()}
        for layer in read_checkpoint_info(plan.checkpoint).layers
    ]
    planned = [{each.name for each in layer.each_map} for layer in new.layers]
    # What does not fit is refused where the checkpoint is read.
    return new.with_connections(stored) if [layer.keys() for layer in stored] == planned else new
