"""Where a run starts: at a new network, or where a checkpoint left off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.errors import ConfigError, DataError
from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint import Checkpoint, read_checkpoint
from hpc_sparse.storage.checkpoint_info import read_checkpoint_info
from hpc_sparse.storage.dataset import Dataset
from hpc_sparse.training.merged_checkpoint import read_merged
from hpc_sparse.training.phased_trainer import last_served_epoch
from hpc_sparse.training.replica import Replica, check_fits
from hpc_sparse.training.run_plan import RunPlan, check_same_network, run_of
from hpc_sparse.training.trainer import is_served


@dataclass(frozen=True)
class StartingPoint:
    """What a run starts from.

    Attributes
    ----------
    replica : Replica
        This rank's.
    n_epochs, n_steps : int
        That it has behind it.
    target_connections : tuple of int
        Where the ranks' networks differ: connections of each layer once they are averaged; else ().
    """

    replica: Replica
    n_epochs: int = 0
    n_steps: int = 0
    target_connections: tuple[int, ...] = ()


def starting_point(ctx: ParallelContext, plan: RunPlan, dataset: Dataset, backend: str) -> StartingPoint:
    """The new network, or the checkpoint's (collective).

    A checkpoint may hold one network per worker. Where as many workers go on training alone, each takes up its own;
    otherwise all start from the average, cut back to size.

    Raises
    ------
    InputError
        On every rank: the checkpoint is not what it should be, or does not fit the configuration or the data.
    """
    if plan.checkpoint is None:
        with collective_errors(ctx, "building the network"):
            return StartingPoint(Replica.initial(plan.config, plan.info))
    path = plan.checkpoint
    n_replicas, n_done = on_root(ctx, lambda: _replicas_and_epochs(path))
    is_apart = n_replicas > 0 and _goes_on_apart(ctx, plan.config, n_replicas, n_done)
    if is_apart:
        # The serving rank looks on with a copy of the first worker's.
        checkpoint = read_checkpoint(ctx, plan.checkpoint, backend, replica=max(0, ctx.rank - 1))
    elif not n_replicas:
        checkpoint = read_checkpoint(ctx, plan.checkpoint, backend)
    with collective_errors(ctx, "resuming"):
        if n_replicas and not is_apart:
            checkpoint, replica = read_merged(plan.checkpoint, plan.config.network)
        else:
            replica = Replica.from_states(plan.config.network, checkpoint.layers, checkpoint.neuron_ids)
        _check_same_run(plan, checkpoint)
        check_fits(replica.network, plan.config, plan.info, str(plan.checkpoint))
        _check_same_data(plan, checkpoint, dataset)
    targets = checkpoint.target_connections if is_apart else ()
    return StartingPoint(replica, checkpoint.epoch, checkpoint.step, targets)


def _replicas_and_epochs(path: Path) -> tuple[int, int]:
    info = read_checkpoint_info(path)
    return info.n_replicas, info.epoch


def _goes_on_apart(ctx: ParallelContext, config: RunConfig, n_replicas: int, n_done: int) -> bool:
    """Whether every worker takes up its own network."""
    last_served = last_served_epoch(config.training.epochs, config.parallel.phase2_share)
    return is_served(ctx, config) and n_replicas == ctx.size - 1 and n_done > last_served


def _check_same_run(plan: RunPlan, checkpoint: Checkpoint) -> None:
    """A resumed run may be longer, go on with other settings or elsewhere, but with the same network."""
    stored = parse_config(checkpoint.config_text, f"configuration stored in {plan.checkpoint}")
    check_same_network(stored, plan.config, str(plan.checkpoint))
    n_done, n_planned = checkpoint.epoch, plan.config.training.epochs
    continues_in_place = plan.checkpoint is not None and run_of(plan.checkpoint) == plan.folder.path.resolve()
    if n_done > n_planned or (n_done == n_planned and not continues_in_place):
        raise ConfigError(
            f"training.epochs = {n_planned}: {plan.checkpoint} has {n_done} epochs behind it; ask for more"
        )


def _check_same_data(plan: RunPlan, checkpoint: Checkpoint, dataset: Dataset) -> None:
    """The features must be scaled as they were, which their statistics tell."""
    for name in ("mean", "deviation"):
        before, now = getattr(checkpoint, name), getattr(dataset, name)
        if (before is None) != (now is None) or (before is not None and not np.array_equal(before, now)):
            raise DataError(
                f"{plan.info.path}: the {name} of its features is not the one stored in {plan.checkpoint}: "
                "a run can be resumed on the same data set only"
            )
