"""The ranks of a run as a grid: some hold one network together, the others replicas of it."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.errors import ConfigError, MachineError
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.instruction_set import SETTING
from hpc_sparse.network.partitioned.division import divided
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.collectives import collective_errors, gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.part_exchange import MpiExchange
from hpc_sparse.planning.parts import check_parts


def grid_of(ctx: ParallelContext, config: RunConfig) -> ParallelContext:
    """The ranks in groups of ``parallel.model`` (collective).

    Raises
    ------
    ConfigError
        On every rank: there is no such number of groups.
    MachineError
        On every rank: ranks compute by different vector instructions, so ends of a connection would not agree.
    """
    n_parts = config.parallel.model
    if n_parts == 1:
        return ctx
    if ctx.size % n_parts:
        shown = "1 rank" if ctx.size == 1 else f"{ctx.size} ranks"
        raise ConfigError(
            f"parallel.model = {n_parts}: not with {shown}: expected a multiple of {n_parts}; start "
            f"mpirun -n {n_parts * max(1, ctx.size // n_parts)}, or --set parallel.model=1"
        )
    names = sorted(set(gather_objects(ctx, INSTRUCTION_SET.name)))
    if len(names) > 1:
        raise MachineError(
            f"parallel.model = {n_parts}: ranks compute by different vector instructions ({', '.join(names)}): "
            f"expected the same on all, or parts of a network would not agree; set {SETTING} on all ranks"
        )
    return ctx.split(n_parts)


def own_part(ctx: ParallelContext, replica: Replica) -> Replica:
    """The part of this rank of a replica that all ranks of ``ctx.model`` have alike (collective).

    Raises
    ------
    InputError
        On every rank: the replica cannot be divided.
    """
    if ctx.model.size == 1:
        return replica
    with collective_errors(ctx, "dividing the network"):
        check_parts(ctx.model.size, replica.network.widths)
    return divided(MpiExchange(ctx.model), replica)
