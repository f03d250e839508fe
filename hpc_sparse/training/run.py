"""A whole run: look at everything first, then load, train, and leave a run folder."""

from __future__ import annotations

import logging
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.config import RunConfig, find_data, load_config, parse_config
from hpc_sparse.errors import ConfigError, DataError, MachineError, OutputError
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.parallel.collectives import collective_errors, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.backends import choose_backend
from hpc_sparse.storage.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint_folder import (
    checkpoint_epochs,
    checkpoint_path,
    newest_checkpoint,
    prune_checkpoints,
)
from hpc_sparse.storage.checkpoint_info import read_checkpoint_info
from hpc_sparse.storage.dataset import Dataset, DatasetInfo, load_dataset, read_info
from hpc_sparse.training.log import start_logging
from hpc_sparse.training.metrics import EpochMetrics, peak_rss_bytes, summarize
from hpc_sparse.training.progress import Reporter
from hpc_sparse.training.replica import Replica, check_fits, n_outputs
from hpc_sparse.training.run_folder import RunFolder
from hpc_sparse.training.trainer import Trainer
from hpc_sparse.training.warmup import warm_up

LOG = logging.getLogger(__name__)

RESUME_AUTO = "auto"

FIXED_KEYS: dict[str, tuple[str, ...]] = {
    "network": (),
    "training": ("seed", "loss"),
    "data": ("standardize",),
}
"""What must not change when a run is continued, by section; no keys means all."""


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for.

    Attributes
    ----------
    config_path : Path
    overrides : tuple of str
        ``section.key=value`` each.
    output : Path or None
        The run folder; ``runs/<name of the configuration>`` if None.
    resume : str or None
        "auto" (the newest checkpoint of the run folder, if there is one) or a checkpoint file.
    is_debug : bool
        Check invariants and the replicas' agreement as the run goes.
    """

    config_path: Path
    overrides: tuple[str, ...] = ()
    output: Path | None = None
    resume: str | None = None
    is_debug: bool = False


@dataclass(frozen=True)
class RunPlan:
    """A request that has been looked at: everything is there and fits together.

    ``previous`` is the configuration of the run that is continued, if any.
    """

    config: RunConfig
    info: DatasetInfo
    folder: RunFolder
    checkpoint: Path | None
    previous: RunConfig | None = None


def make_plan(request: RunRequest) -> RunPlan:
    """Check a request as far as possible without loading data; changes nothing. Called by root.

    Raises
    ------
    InputError
        Something asked for is wrong or missing.
    """
    config = load_config(request.config_path, request.overrides)
    info = read_info(find_data(config.data.path, request.config_path))
    n_outputs(config, info)
    folder = RunFolder(request.output or Path("runs") / request.config_path.stem)
    checkpoint = _find_checkpoint(request.resume, folder)
    _check_place(request, folder, checkpoint)
    previous = None
    if checkpoint is not None:
        text = read_checkpoint_info(checkpoint).config_text
        previous = parse_config(text, f"configuration stored in {checkpoint}")
    elif request.resume is not None and folder.has_only_begun():
        previous = load_config(folder.config)
        _check_same_network(previous, config, str(folder.config))
    return RunPlan(config, info, folder, checkpoint, previous)


def train(ctx: ParallelContext, request: RunRequest, reporter: Reporter) -> dict[str, Any]:
    """Train as requested and return the run's summary (collective).

    Raises
    ------
    HpcSparseError
        On every rank: see :mod:`hpc_sparse.errors`. Nothing existing has been overwritten.
    """
    started = time.perf_counter()
    plan = on_root(ctx, lambda: make_plan(request))
    config = plan.config
    if config.runtime.threads:
        ctx = replace(ctx, threads=config.runtime.threads)
    _check_machine(ctx, config)
    with collective_errors(ctx, "starting threads"):
        use_threads(ctx.threads)
    backend = choose_backend(ctx, config.runtime.hdf5)
    dataset = load_dataset(ctx, plan.info.path, backend)
    replica, n_done, n_steps_before = _starting_point(ctx, plan, dataset, backend)
    if n_done == config.training.epochs and (finished := on_root(ctx, plan.folder.stored_summary)) is not None:
        return finished
    trainer = Trainer(ctx, config, dataset, replica, reporter, is_debug=request.is_debug)
    history = on_root(ctx, lambda: _open_folder(plan, n_done))
    warm_up(ctx, config, plan.info)
    start_logging(ctx, config.runtime.log, shows_all_ranks=request.is_debug)
    _log_changes(plan)
    reporter.start(_headline(ctx, plan, replica, n_done), n_done + 1, config.training.epochs, trainer.n_steps)
    try:
        for epoch in range(n_done + 1, config.training.epochs + 1):
            metrics = trainer.train_epoch(epoch)
            history.append(metrics)
            on_root(ctx, lambda: plan.folder.append(history[-1]))
            reporter.epoch(metrics)
            if epoch % config.checkpoint.every_epochs == 0 or epoch == config.training.epochs:
                n_steps = n_steps_before + (epoch - n_done) * trainer.n_steps
                _write_checkpoint(ctx, plan, dataset, replica, history, n_steps, backend)
    finally:
        reporter.stop()
    peak = max(gather_objects(ctx, peak_rss_bytes()))
    summary = summarize(ctx, replica.network, history, plan.info.n_train, time.perf_counter() - started, peak)
    on_root(ctx, lambda: plan.folder.write_summary(summary))
    return summary


def _find_checkpoint(resume: str | None, folder: RunFolder) -> Path | None:
    if resume is None:
        return None
    if resume == RESUME_AUTO:
        return newest_checkpoint(folder.checkpoints)
    if not Path(resume).is_file():
        raise ConfigError(f'--resume {resume}: no such checkpoint; expected a file, or "auto"')
    return Path(resume)


def _check_place(request: RunRequest, folder: RunFolder, checkpoint: Path | None) -> None:
    """The run folder must be new, or one that this run continues from its end."""
    if checkpoint is None:
        if request.resume is None or not folder.has_only_begun():
            folder.check_unused()
    elif _run_of(checkpoint) != folder.path.resolve():
        folder.check_unused()
    elif (newest := newest_checkpoint(folder.checkpoints)) is not None and newest.resolve() != checkpoint.resolve():
        raise OutputError(
            f"{folder.path}: holds a later checkpoint, {newest.name}, than {checkpoint.name}; "
            "choose another --output to branch off"
        )


def _run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint is in, if it is in one."""
    folder = RunFolder(checkpoint.resolve().parent.parent)
    return folder.path if folder.checkpoints == checkpoint.resolve().parent else None


def _check_machine(ctx: ParallelContext, config: RunConfig) -> None:
    with collective_errors(ctx, "looking at the machine"):
        n_cores = os.cpu_count() or 1
        if ctx.node_size > n_cores and not config.runtime.oversubscribe:
            raise MachineError(
                f"{ctx.node_size} ranks on a node with {n_cores} cores: expected at most one rank per core; "
                "start fewer (mpirun -n), or allow it with --set runtime.oversubscribe=true"
            )


def _starting_point(ctx: ParallelContext, plan: RunPlan, dataset: Dataset, backend: str) -> tuple[Replica, int, int]:
    """The replica to train, and the epochs and steps it has behind it (collective)."""
    if plan.checkpoint is None:
        with collective_errors(ctx, "building the network"):
            return Replica.initial(plan.config, plan.info), 0, 0
    checkpoint = read_checkpoint(ctx, plan.checkpoint, backend)
    with collective_errors(ctx, "resuming"):
        _check_same_run(plan, checkpoint)
        replica = Replica.from_states(plan.config.network, checkpoint.layers)
        check_fits(replica.network, plan.config, plan.info, str(plan.checkpoint))
        _check_same_data(plan, checkpoint, dataset)
    return replica, checkpoint.epoch, checkpoint.step


def _check_same_run(plan: RunPlan, checkpoint: Checkpoint) -> None:
    """A resumed run may be longer, go on with other settings or elsewhere, but with the same network."""
    stored = parse_config(checkpoint.config_text, f"configuration stored in {plan.checkpoint}")
    _check_same_network(stored, plan.config, str(plan.checkpoint))
    n_done, n_planned = checkpoint.epoch, plan.config.training.epochs
    continues_in_place = plan.checkpoint is not None and _run_of(plan.checkpoint) == plan.folder.path.resolve()
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


def _check_same_network(stored: RunConfig, config: RunConfig, origin: str) -> None:
    for section, keys in FIXED_KEYS.items():
        before, now = getattr(stored, section).model_dump(), getattr(config, section).model_dump()
        for key in keys or before:
            if before[key] != now[key]:
                raise ConfigError(
                    f"{section}.{key} = {now[key]!r}: {origin} was trained with {before[key]!r}; "
                    "a run can be resumed with the same network, data, seed and loss only"
                )


def _log_changes(plan: RunPlan) -> None:
    """Say which settings are others than those of the run that is continued."""
    if plan.previous is None:
        return
    before, now = (config.model_dump(exclude={"runtime", "checkpoint"}) for config in (plan.previous, plan.config))
    changes = [
        f"{section}.{key} {before[section][key]!r} -> {value!r}"
        for section in now
        for key, value in now[section].items()
        if before[section][key] != value and (section, key) not in {("training", "epochs"), ("data", "path")}
    ]
    if changes:
        LOG.info("continuing with other settings: %s", ", ".join(changes))
    if plan.checkpoint is None:
        LOG.warning("%s: no checkpoint yet, starting again", plan.folder.path)


def _open_folder(plan: RunPlan, n_done: int) -> list[EpochMetrics]:
    """Make the run folder, or take up the one that is continued; returns the epochs already there."""
    source = None if plan.checkpoint is None else _run_of(plan.checkpoint)
    history = [] if source is None else RunFolder(source).history(n_done)
    plan.folder.create(plan.config.to_toml())
    plan.folder.replace_history(history)
    return history


def _write_checkpoint(
    ctx: ParallelContext,
    plan: RunPlan,
    dataset: Dataset,
    replica: Replica,
    history: list[EpochMetrics],
    n_steps: int,
    backend: str,
) -> None:
    """Write the state after the newest epoch, then remove what need not be kept (collective)."""
    folder, last = plan.folder.checkpoints, history[-1]
    checkpoint = Checkpoint(
        config_text=plan.config.to_toml(),
        epoch=last.epoch,
        step=n_steps,
        n_ranks=ctx.size,
        layers=replica.to_states(plan.config.network.activation),
        metrics={name: float(value) for name, value in last.as_dict().items()},
        history_best=_best(history, range(1, last.epoch + 1)),
        mean=dataset.mean,
        deviation=dataset.deviation,
    )
    write_checkpoint(ctx, checkpoint_path(folder, last.epoch), checkpoint, backend)

    def prune() -> None:
        best = _best(history, checkpoint_epochs(folder))
        prune_checkpoints(folder, plan.config.checkpoint.keep_last, best[0] if best else None)

    on_root(ctx, prune)


def _best(history: list[EpochMetrics], epochs: Any) -> tuple[int, float] | None:
    """Epoch and test accuracy of the best of the given epochs; decides only which checkpoint is kept."""
    candidates = [
        (metrics.epoch, metrics.test_accuracy)
        for metrics in history
        if metrics.epoch in epochs and math.isfinite(metrics.test_accuracy)
    ]
    return max(candidates, key=lambda candidate: candidate[1], default=None)


def _headline(ctx: ParallelContext, plan: RunPlan, replica: Replica, n_done: int) -> str:
    network = replica.network
    shape = " - ".join(f"{width:,}" for width in network.widths)
    resumed = f", resumed after epoch {n_done}" if n_done else ""
    return (
        f"{plan.info.title or plan.info.path.name}: {shape}, {network.n_connections:,} connections "
        f"(density {network.density:.3g}); {ctx.size} rank{'s' if ctx.size > 1 else ''} x {ctx.threads} "
        f"thread{'s' if ctx.threads > 1 else ''}; {plan.folder.path}{resumed}"
    )
