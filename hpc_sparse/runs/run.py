"""A whole run: look at everything first, then load, train, and leave a run folder."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpc_sparse.analysis.reach import effective_entries
from hpc_sparse.config import RunConfig
from hpc_sparse.errors import HpcSparseError, MachineError, PlannedStop
from hpc_sparse.importers.initial_topologies import described
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.monitor.log import start_logging
from hpc_sparse.monitor.metrics import EpochMetrics, best_epoch, epochs_without_progress, peak_rss_bytes, summarize
from hpc_sparse.monitor.position import Phase, PositionTracker
from hpc_sparse.monitor.reporter import Reporter
from hpc_sparse.monitor.stalls import stall_watch
from hpc_sparse.monitor.stopping import NO_PROGRESS, StopRequest, describe_reason
from hpc_sparse.parallel.collectives import collective_errors, errors_of_groups, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext, cores_of_node
from hpc_sparse.runs.folder import RunFolder
from hpc_sparse.runs.grid import grid_of
from hpc_sparse.runs.memory_check import check_memory
from hpc_sparse.runs.plan import RunPlan, RunRequest, make_plan, run_of
from hpc_sparse.runs.starting_point import StartingPoint, starting_point
from hpc_sparse.runs.warm_up import warm_up
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_epochs, checkpoint_path, prune_checkpoints, set_aside
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.container.backends import choose_backend
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.training.job import MidEpochState, TrainingJob
from hpc_sparse.training.replica_states import replica_to_states
from hpc_sparse.training.trainer import Trainer, make_trainer, shares, validation_part

LOG = logging.getLogger(__name__)


def train_run(
    ctx: ParallelContext, request: RunRequest, reporter: Reporter, stop_request: StopRequest | None = None
) -> dict[str, Any]:
    """Train as requested and return the run's summary (collective).

    Signals that ask the run to stop are those that ``stop_request`` hears; without one, only the time limit counts.

    Raises
    ------
    HpcSparseError
        On every rank: see :mod:`hpc_sparse.errors`. Nothing existing has been overwritten.
    """
    started, tracker = time.monotonic(), PositionTracker()
    plan = on_root(ctx, lambda: make_plan(request))
    stop_request = stop_request or StopRequest()
    stop_request.set_time_limit(plan.config.runtime.time_limit, started)
    with stall_watch(ctx, plan.config.runtime.stall_timeout, tracker):
        return _train_as_planned(ctx, request, plan, reporter, stop_request, tracker, started)


def _train_as_planned(
    ctx: ParallelContext,
    request: RunRequest,
    plan: RunPlan,
    reporter: Reporter,
    stop_request: StopRequest,
    tracker: PositionTracker,
    started: float,
) -> dict[str, Any]:
    """Load what is needed, train, and return the summary (collective)."""
    config = plan.config
    if config.runtime.threads:
        ctx = replace(ctx, threads=config.runtime.threads)
    ctx = grid_of(ctx, config)
    _check_machine(ctx, config)
    check_memory(ctx, plan)
    with collective_errors(ctx, "starting threads"):
        use_threads(ctx.threads)
    backend = choose_backend(ctx, config.runtime.hdf5)
    train_share, test_share = shares(ctx, config)
    tracker.at(Phase.READING)
    validation = validation_part(ctx, config)
    with errors_of_groups(ctx):
        # Ranks that hold one network together have the same samples.
        shards = {"train": train_share, "test": test_share}
        dataset = load_dataset(ctx.data, plan.info.path, backend, **shards, validation=validation)
        front_end = FrontEndChain.start(ctx.data, config, dataset)
    start = starting_point(ctx, plan, dataset, front_end, backend)
    tracker.at(Phase.STARTING)
    if start.n_epochs == config.training.epochs and (finished := on_root(ctx, plan.folder.stored_summary)) is not None:
        return finished
    job = TrainingJob(
        ctx,
        config,
        dataset,
        start.replica,
        reporter,
        is_debug=request.is_debug,
        stop_request=stop_request,
        tracker=tracker,
        fitted=front_end,
        before_epoch=request.before_epoch,
    )
    trainer = make_trainer(job, start.target_connections)
    history = on_root(ctx, lambda: _open_folder(plan, start.n_epochs))
    warm_up(ctx, config, plan.info)
    start_logging(ctx, config.runtime.log, shows_all_ranks=request.is_debug)
    _log_notes(ctx, plan, start)
    if request.is_debug:
        _check_gradients(job, start)
    n_epochs, n_samples = config.training.epochs, dataset.n_train
    reporter.start(_headline(job, plan, start), start.n_epochs + 1, n_epochs, trainer.n_steps, n_samples)
    try:
        _train(job, trainer, plan, start, history, backend)
        trainer.finish()
    except HpcSparseError:
        # Every rank is here.
        trainer.finish()
        raise
    finally:
        reporter.stop()
    peak = max(gather_objects(ctx, peak_rss_bytes()))
    states, seconds = start.replica.states[0].arrays(), time.monotonic() - started
    summary = summarize(ctx, start.replica.network, history, n_samples, seconds, peak, states)
    summary |= described(config.network, plan.topology_files)
    if ctx.model.size == 1:
        summary |= on_root(ctx, lambda: effective_entries(start.replica.network))
    on_root(ctx, lambda: plan.folder.write_summary(summary))
    return summary


def _train(
    job: TrainingJob, trainer: Trainer, plan: RunPlan, start: StartingPoint, history: list[EpochMetrics], backend: str
) -> None:
    """Train from checkpoint to checkpoint; ``history`` grows by the epochs (collective).

    Raises
    ------
    PlannedStop
        On every rank, after a checkpoint: the run was asked to stop.
    """
    patience, seen = job.config.training.early_stopping, list(history)

    def record(metrics: EpochMetrics) -> bool:
        plan.folder.append(metrics)
        job.reporter.epoch(metrics)
        seen.append(metrics)
        return patience is not None and epochs_without_progress(seen) >= patience

    if patience is not None and epochs_without_progress(history) >= patience:
        return
    n_done, n_epochs, mid_epoch = start.n_epochs, job.config.training.epochs, start.mid_epoch
    n_steps = start.n_steps - (0 if mid_epoch is None else mid_epoch.step)
    for first, last in _between_checkpoints(n_done, n_epochs, job.config.checkpoint.every_epochs):
        result = trainer.train_epochs(first, last, record, mid_epoch)
        mid_epoch = result.mid_epoch
        history += result.history
        n_done += len(result.history)
        n_steps += len(result.history) * trainer.n_steps
        _write_checkpoint(job, trainer, plan, history, RunPosition(n_done, n_steps, mid_epoch), backend)
        if result.stop_reason == NO_PROGRESS:
            LOG.info("no smaller validation loss for %s epochs: the run ends after epoch %d", patience, n_done)
            return
        if result.stop_reason and n_done < n_epochs:
            raise PlannedStop(_stop_message(result.stop_reason, n_done, mid_epoch, plan))


def _check_gradients(job: TrainingJob, start: StartingPoint) -> None:
    """Compare gradients with central differences, which takes a whole network (collective)."""
    if job.ctx.model.size > 1:
        LOG.info("a network in parts: gradients are not compared with central differences")
        return
    from hpc_sparse.runs.gradient_check import check_gradients  # noqa: PLC0415 - it needs SciPy

    worst = check_gradients(job, start.n_epochs + 1)
    LOG.info("gradients agree with central differences to %.0e", worst)


def _stop_message(reason: int, n_done: int, mid_epoch: MidEpochState | None, plan: RunPlan) -> str:
    steps = "" if mid_epoch is None else f" and {mid_epoch.step} steps"
    return (
        f"stopped as asked ({describe_reason(reason)}) after {n_done} epochs{steps}; a checkpoint is in "
        f"{plan.folder.checkpoints}; the same command with --resume auto goes on from it"
    )


def _check_machine(ctx: ParallelContext, config: RunConfig) -> None:
    n_cores = cores_of_node(ctx)
    with collective_errors(ctx, "looking at the machine"):
        if ctx.node_size > n_cores and not config.runtime.oversubscribe:
            shown = "1 core" if n_cores == 1 else f"{n_cores} cores"
            raise MachineError(
                f"{ctx.node_size} ranks on a node with {shown}: expected at most one rank per core; "
                "start fewer (mpirun -n), or allow it with --set runtime.oversubscribe=true"
            )


def _between_checkpoints(n_done: int, n_epochs: int, every: int) -> Iterator[tuple[int, int]]:
    """First and last epoch of each group of epochs that a checkpoint ends."""
    while n_done < n_epochs:
        last = min(n_epochs, (n_done // every + 1) * every)
        yield n_done + 1, last
        n_done = last


def _log_notes(ctx: ParallelContext, plan: RunPlan, start: StartingPoint) -> None:
    """Say what may surprise: a strategy without effect, and settings other than those of the run that is continued."""
    if ctx.size == 1 and plan.config.parallel.algorithm != "local_sgd":
        LOG.info("%s on one rank: there are no workers, so this is sequential training", plan.config.parallel.algorithm)
    pruning, n_epochs = plan.config.importance_pruning, plan.config.training.epochs
    if pruning.mode != "off" and n_epochs <= pruning.after_epoch:
        LOG.warning(
            "importance_pruning.after_epoch = %d: nothing is pruned in %d epochs", pruning.after_epoch, n_epochs
        )
    if start.note:
        LOG.warning("%s", start.note)
    if plan.damaged:
        reasons = "; ".join(each.reason for each in plan.damaged)
        LOG.warning("going on from %s: damaged ones were set aside: %s", plan.checkpoint, reasons)
    if plan.previous is None:
        return
    before, now = (config.model_dump(exclude={"runtime", "checkpoint"}) for config in (plan.previous, plan.config))
    changes = [
        f"{section}.{key} {before[section].get(key)!r} -> {value!r}"
        for section in now
        for key, value in now[section].items()
        if before[section].get(key) != value and (section, key) not in {("training", "epochs"), ("data", "path")}
    ]
    if changes:
        LOG.info("continuing with other settings: %s", ", ".join(changes))
    if plan.checkpoint is None:
        LOG.warning("%s: no checkpoint yet, starting again", plan.folder.path)


def _open_folder(plan: RunPlan, n_done: int) -> list[EpochMetrics]:
    """Make the run folder, or open the one that is continued; returns the epochs already there."""
    source = None if plan.checkpoint is None else run_of(plan.checkpoint)
    history = [] if source is None else RunFolder(source).history(n_done)
    plan.folder.create(plan.config.to_toml())
    for each in plan.damaged:
        set_aside(each.path)
    plan.folder.replace_history(history)
    return history


@dataclass(frozen=True)
class RunPosition:
    """Position of a run: complete epochs, the steps in them, and the state in the middle of the next one."""

    n_epochs: int
    n_steps: int
    mid_epoch: MidEpochState | None


def _write_checkpoint(
    job: TrainingJob, trainer: Trainer, plan: RunPlan, history: list[EpochMetrics], position: RunPosition, backend: str
) -> None:
    """Write the state that has been reached, then remove what need not be kept (collective)."""
    job.tracker.at(Phase.WRITING)
    ctx, folder, replica = job.ctx, plan.folder.checkpoints, trainer.replica_number
    n_steps, sums, progress = 0, dict[str, float](), None
    if position.mid_epoch is not None:
        n_steps, sums = position.mid_epoch.step, dict(position.mid_epoch.sums)
        progress = np.array(gather_objects(ctx.data, list(sums.values())), np.float64)
    checkpoint = Checkpoint(
        config_text=plan.config.to_toml(),
        epoch=position.n_epochs,
        step=position.n_steps + n_steps,
        n_ranks=ctx.data.size,
        layers=() if replica == NO_REPLICA else replica_to_states(job.replica),
        metrics=history[-1].numbers() if history else {},
        history_best=_best(history, range(1, position.n_epochs + 1)),
        front_end=job.front_end.arrays(),
        neuron_ids=tuple(job.replica.network.neuron_ids),
        replica=replica,
        target_connections=() if replica is None else trainer.target_connections,
        step_in_epoch=n_steps,
        progress=progress,
        progress_names=tuple(sums),
        tile_width=job.replica.network.tile_width,
        instructions=INSTRUCTION_SET.name,
    )
    write_checkpoint(ctx, checkpoint_path(folder, position.n_epochs, n_steps), checkpoint, backend)

    def prune() -> None:
        best = _best(history, checkpoint_epochs(folder))
        prune_checkpoints(folder, plan.config.checkpoint.keep_last, best[0] if best else None)

    on_root(ctx, prune)


def _best(history: list[EpochMetrics], epochs: Any) -> tuple[int, float] | None:
    """Number and accuracy of the best of the given epochs; decides only which checkpoint is kept."""
    candidates = [metrics for metrics in history if metrics.epoch in epochs]
    best = best_epoch(candidates) if candidates else None
    return None if best is None or not math.isfinite(best.accuracy) else (best.epoch, best.accuracy)


def _headline(job: TrainingJob, plan: RunPlan, start: StartingPoint) -> str:
    ctx, network = job.ctx, job.replica.network
    shape = " - ".join(f"{width:,}" for width in network.widths)
    steps = f" and {start.mid_epoch.step} steps" if start.mid_epoch else ""
    parts = f", a network in {ctx.model.size} parts" if ctx.model.size > 1 else ""
    resumed = f", resumed after epoch {start.n_epochs}{steps}" if start.n_epochs or steps else ""
    return (
        f"{plan.info.title or plan.info.path.name}: {shape}, {network.n_connections:,} connections "
        f"(density {network.density:.3g}); {ctx.size} rank{'s' if ctx.size > 1 else ''} x {ctx.threads} "
        f"thread{'s' if ctx.threads > 1 else ''}{parts}; {plan.folder.path}{resumed}"
    )
