"""Saying no before anything is allocated."""

from __future__ import annotations

from hpc_sparse.errors import MachineError
from hpc_sparse.planning.machine import AvailableMemory
from hpc_sparse.planning.memory import MemoryPlan
from hpc_sparse.planning.network_size import NetworkSize

GIGABYTE = 10**9


def refuse_what_cannot_fit(
    plan: MemoryPlan, size: NetworkSize, available: AvailableMemory | None, n_node_ranks: int
) -> None:
    """Check that the ranks of a node find room beside each other; nothing is known of other programs to come.

    Parameters
    ----------
    plan : MemoryPlan
        Plan of each rank.
    size : NetworkSize
    available : AvailableMemory or None
        None: the system does not tell, and anything may be tried.
    n_node_ranks : int
        Ranks on the node.

    Raises
    ------
    MachineError
        They do not.
    """
    needed = plan.allocated * n_node_ranks
    if available is None or needed <= available.n_bytes:
        return
    phase = max(plan.peaks, key=lambda name: plan.peaks[name])
    groups = ", ".join(f"{name} {gigabytes(n)}" for name, n in plan.by_group().items() if name != "program")
    on_top = plan.peak - plan.resident
    extra = f", {phase} {gigabytes(on_top)} more" if on_top > 0 else ""
    ranks = f" x {n_node_ranks} ranks on the node = {gigabytes(needed)} GB" if n_node_ranks > 1 else ""
    raise MachineError(
        f"not enough memory: {size.n_neurons:,} neurons and {size.n_connections:,} connections need about "
        f"{gigabytes(plan.allocated)} GB (in GB: {groups}{extra}){ranks}, but {gigabytes(available.n_bytes)} GB are "
        f"left ({available.source}); `hpc-sparse plan` tells which batch_size, epsilon or width fits; "
        "--set runtime.memory_check=false tries it all the same"
    )


def gigabytes(n_bytes: int) -> str:
    """Bytes as GB, with as many digits as say something."""
    value = n_bytes / GIGABYTE
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
