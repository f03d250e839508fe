"""Starting point of a run: a new network, or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.errors import ConfigError, DataError, FileFormatError
from hpc_sparse.inputs.chain import FrontEndChain, changed_arrays
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.simd.machine import WIDTHS, tile_width
from hpc_sparse.models.merged import read_merged
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.state import type_names
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.collectives import collective_errors, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.part_exchange import MpiExchange
from hpc_sparse.runs.first_topology import choose_first_topology
from hpc_sparse.runs.given_topologies import given_topologies
from hpc_sparse.runs.grid import own_part
from hpc_sparse.runs.plan import RunPlan, check_same_network, run_of
from hpc_sparse.storage.checkpoint.file import open_checkpoint, read_checkpoint
from hpc_sparse.storage.checkpoint.info import CheckpointInfo, read_checkpoint_info
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.samples import Dataset
from hpc_sparse.training.job import MidEpochState, TrainingJob
from hpc_sparse.training.rates import last_served_epoch
from hpc_sparse.training.replica_states import (
    check_fits,
    initial_part,
    initial_replica,
    part_from_states,
    replica_from_states,
)
from hpc_sparse.training.trainer import check_mid_epoch, is_served


@dataclass(frozen=True)
class StartingPoint:
    """Starting point of a run.

    Attributes
    ----------
    replica : Replica
        This rank's.
    n_epochs, n_steps : int
        Epochs and steps done.
    target_connections : tuple of int
        Connections of each layer once the ranks' networks are averaged; () if they do not differ.
    mid_epoch : MidEpochState or None
        State within the next epoch, if the run stopped there.
    note : str
        Message for the user, or "".
    """

    replica: Replica
    n_epochs: int = 0
    n_steps: int = 0
    target_connections: tuple[int, ...] = ()
    mid_epoch: MidEpochState | None = None
    note: str = ""


def starting_point(
    ctx: ParallelContext, plan: RunPlan, dataset: Dataset, front_end: FrontEndChain, backend: str
) -> StartingPoint:
    """The new network, or the checkpoint's (collective).

    A checkpoint may hold one network per rank, or have been written within an epoch. With the same settings and number
    of ranks, each rank continues its own network exactly. Otherwise all start from the average, cut back to size, and
    repeat an unfinished epoch.

    Raises
    ------
    InputError
        On every rank: the checkpoint is not what it should be, or does not fit the configuration or the data.
    """
    if plan.checkpoint is None:
        given = given_topologies(ctx, plan)
        if ctx.model.size > 1:
            replica = initial_part(MpiExchange(ctx.model), plan.config, plan.info, given)
            _agree_on_tiles(ctx, replica.network)
            return StartingPoint(replica)
        with collective_errors(ctx, "building the network"):
            replica = initial_replica(plan.config, plan.info, given)
        _agree_on_tiles(ctx, replica.network)
        choose_first_topology(TrainingJob(ctx, plan.config, dataset, replica, SilentReporter(), fitted=front_end))
        return StartingPoint(replica)
    path = plan.checkpoint
    info = on_root(ctx, lambda: read_checkpoint_info(path))
    with collective_errors(ctx, "resuming"):
        _check_same_run(plan, info)
    goes_on, is_apart = goes_on_exactly(ctx, plan.config, info), info.n_replicas > 0
    if is_apart and not goes_on:
        with collective_errors(ctx, "resuming"):
            checkpoint, replica = read_merged(path, plan.config)
        replica = own_part(ctx, replica)
    else:
        number = _own_replica(ctx, plan.config) if is_apart else None
        checkpoint, replica = _read(ctx, plan.config, info, backend, number)
    if not info.tile_width:
        # As when the run began: neurons may have been removed since.
        widths = [plan.info.n_features, *plan.config.network.hidden, replica.network.widths[-1]]
        replica.network.tile_width = tile_width(widths)
    _agree_on_tiles(ctx, replica.network)
    with collective_errors(ctx, "resuming"):
        check_fits(replica.network, plan.config, plan.info, str(path))
        _check_same_data(plan, checkpoint, front_end)
    converted = _converted(info, checkpoint, replica)
    if goes_on:
        with collective_errors(ctx, "resuming"):
            mid_epoch = _mid_epoch(ctx, plan, checkpoint)
        note = _joined(_other_machine(info, replica.network), converted)
        return StartingPoint(replica, info.epoch, info.step, checkpoint.target_connections, mid_epoch, note)
    n_steps = info.step - info.step_in_epoch
    return StartingPoint(replica, info.epoch, n_steps, note=_joined(_note(info), converted))


def _read(
    ctx: ParallelContext, config: RunConfig, info: CheckpointInfo, backend: str, number: int | None
) -> tuple[Checkpoint, Replica]:
    """A checkpoint and this rank's replica in it, or its part of that; the layers of parts are given away (collective).

    ``number`` is that of the replica, None if all have the same.
    """
    if ctx.model.size == 1:
        checkpoint = read_checkpoint(ctx, info.path, backend, replica=number)
        with collective_errors(ctx, "resuming"):
            whole = checkpoint.layers, checkpoint.neuron_ids, str(info.path), checkpoint.tile_width
            return checkpoint, replica_from_states(config, *whole)
    with open_checkpoint(ctx, info.path, backend, replica=number) as (checkpoint, layers):
        width = checkpoint.tile_width if checkpoint.tile_width in WIDTHS else 0
        exchange, of_part = MpiExchange(ctx.model), (len(info.layers), checkpoint.neuron_ids, str(info.path), width)
        return checkpoint, part_from_states(ctx, exchange, config, layers, *of_part)


def _agree_on_tiles(ctx: ParallelContext, network: Network) -> None:
    """Take the narrowest tiles that a rank proposes: processors and their caches may differ (collective)."""
    network.tile_width = min(gather_objects(ctx, network.tile_width))


def _other_machine(info: CheckpointInfo, network: Network) -> str:
    """What will differ in the last bits because kernels compute otherwise than before; "" for nothing."""
    before, now = (info.instructions, info.tile_width), (INSTRUCTION_SET.name, network.tile_width)
    if not info.tile_width or before == now:
        return ""
    return (
        f"{info.path} is of a machine with {before[0]} and tiles of {before[1]} columns, here they are {now[0]} and "
        f"{now[1]}: results differ in their last bits from those of a run that goes on there"
    )


def _converted(info: CheckpointInfo, checkpoint: Checkpoint, replica: Replica) -> str:
    """What is told of state arrays that the run keeps in another type than the checkpoint; "" if there are none."""
    stored = type_names(checkpoint.layers[0].states) if checkpoint.layers else {}
    for name, now in type_names(replica.states[0].arrays()).items():
        if (before := stored.get(name, now)) != now:
            return f"{info.path} has {name} in {before}, this run keeps it in {now}: it is converted"
    return ""


def _joined(*notes: str) -> str:
    """Notes as one."""
    return "; ".join(note for note in notes if note)


def goes_on_exactly(ctx: ParallelContext, config: RunConfig, info: CheckpointInfo) -> bool:
    """Whether every rank continues exactly; ``info`` is of the checkpoint, ``config`` of the run now."""
    if not info.n_replicas and not info.step_in_epoch:
        return True
    if info.n_ranks != ctx.data.size:
        return False
    before = parse_config(info.config_text, f"configuration stored in {info.path}")
    is_within = info.step_in_epoch > 0
    # Steps are the same, whatever the number of ranks that hold a network together.
    is_same_algorithm = before.parallel.in_one_part() == config.parallel.in_one_part()
    has_same_steps = is_same_algorithm and before.training.batch_size == config.training.batch_size
    if is_within and not has_same_steps:
        return False
    if not is_served(ctx, config):
        # Between two epochs, only workers that train alone have networks that differ.
        return is_within
    # In a longer or shorter run, the epoch that was begun may be of the other phase.
    is_alone = info.epoch + is_within > last_served_epoch(config)
    return is_alone == (info.n_replicas > 0)


def _own_replica(ctx: ParallelContext, config: RunConfig) -> int:
    """The number of this rank's network; the server has a copy of the first worker's."""
    return max(0, ctx.replica - 1) if is_served(ctx, config) else ctx.replica


def _mid_epoch(ctx: ParallelContext, plan: RunPlan, checkpoint: Checkpoint) -> MidEpochState | None:
    if not checkpoint.step_in_epoch or checkpoint.progress is None:
        return None
    sums = dict(zip(checkpoint.progress_names, checkpoint.progress[ctx.data.rank].tolist(), strict=True))
    mid_epoch = MidEpochState(checkpoint.step_in_epoch, sums)
    try:
        check_mid_epoch(ctx, plan.config, mid_epoch, is_apart=checkpoint.replica is not None)
    except ValueError as error:
        raise FileFormatError(f"{plan.checkpoint}: progress: {error}") from error
    return mid_epoch


def _note(info: CheckpointInfo) -> str:
    networks = f"the average of {info.n_replicas} networks" if info.n_replicas else "the network"
    again = f"; epoch {info.epoch + 1} is begun again" if info.step_in_epoch else ""
    return f"ranks, batches or strategy are others than before: starting from {networks} in {info.path}{again}"


def _check_same_run(plan: RunPlan, info: CheckpointInfo) -> None:
    """A resumed run may be longer, go on with other settings or elsewhere, but with the same network."""
    stored = parse_config(info.config_text, f"configuration stored in {plan.checkpoint}")
    check_same_network(stored, plan.config, str(plan.checkpoint))
    n_done, n_planned = info.epoch, plan.config.training.epochs
    n_begun = n_done + (info.step_in_epoch > 0)
    continues_in_place = plan.checkpoint is not None and run_of(plan.checkpoint) == plan.folder.path.resolve()
    if n_begun > n_planned or (n_done == n_planned and not continues_in_place):
        raise ConfigError(
            f"training.epochs = {n_planned}: {plan.checkpoint} has {n_done} epochs behind it; ask for more"
        )


def _check_same_data(plan: RunPlan, checkpoint: Checkpoint, front_end: FrontEndChain) -> None:
    """The front ends must be fitted to the same data, which their arrays tell."""
    for name in changed_arrays(checkpoint.front_end, front_end.arrays()):
        raise DataError(
            f"{plan.info.path}: the {name.partition('/')[2]} of its features is not the one stored in "
            f"{plan.checkpoint}: a run can be resumed on the same data set only"
        )
