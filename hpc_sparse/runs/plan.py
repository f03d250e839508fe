"""Plan of a run: the request, checked as far as possible before any data is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpc_sparse.config import RunConfig, find_data, load_config, parse_config
from hpc_sparse.errors import ConfigError, FileFormatError, OutputError
from hpc_sparse.evolution import make_updater
from hpc_sparse.importers.initial_topologies import TopologyFile, find_topologies
from hpc_sparse.inputs.registry import fixed_keys
from hpc_sparse.inputs.sequences import n_inputs
from hpc_sparse.network.connections.registry import check_widths
from hpc_sparse.planning.parts import check_parts
from hpc_sparse.planning.topology_files import read_files, told_of
from hpc_sparse.runs.folder import RunFolder
from hpc_sparse.storage.checkpoint.folder import Damaged, checkpoint_positions, newest_intact_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo
from hpc_sparse.storage.dataset.validation import validation_counts
from hpc_sparse.training.job import BeforeEpoch
from hpc_sparse.training.replica_states import (
    n_outputs,
)

RESUME_AUTO = "auto"

FIXED_KEYS: dict[str, tuple[str, ...]] = {
    "network": (),
    "training": ("seed", "loss", "optimizer"),
}
"""Keys by section, beside the front ends, that must not change when a run is continued; () means all."""


@dataclass(frozen=True)
class RunRequest:
    """Request of a user for a run.

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
    before_epoch : BeforeEpoch or None
        Called before each epoch, for programs that train runs of their own.
    """

    config_path: Path
    overrides: tuple[str, ...] = ()
    output: Path | None = None
    resume: str | None = None
    is_debug: bool = False
    before_epoch: BeforeEpoch | None = None


@dataclass(frozen=True)
class RunPlan:
    """A checked request: all files exist and fit together.

    ``previous`` is the configuration of the run that is continued, if any; ``damaged`` are the checkpoints beyond
    ``checkpoint`` that could not be used. ``topology_files`` are those that a new network needs.
    """

    config: RunConfig
    info: DatasetInfo
    folder: RunFolder
    checkpoint: Path | None
    previous: RunConfig | None = None
    damaged: tuple[Damaged, ...] = ()
    topology_files: tuple[TopologyFile, ...] = ()


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
    check_widths(config.network, n_inputs(config, info))
    check_parts(config.parallel.model, [n_inputs(config, info), *config.network.hidden, n_outputs(config, info)])
    validation_counts(info, config.data.validation_fraction)
    folder = RunFolder(request.output or Path("runs") / request.config_path.stem)
    checkpoint, damaged = _find_checkpoint(request.resume, folder)
    _check_place(request, folder, checkpoint, damaged)
    previous, files = None, tuple[TopologyFile, ...]()
    if checkpoint is None:
        paths = find_topologies(config, request.config_path)
        files = told_of(paths, read_files(config, paths, info))
    if checkpoint is not None:
        text = read_checkpoint_info(checkpoint).config_text
        previous = parse_config(text, f"configuration stored in {checkpoint}")
    elif request.resume is not None and folder.has_only_begun():
        previous = load_config(folder.config)
        check_same_network(previous, config, str(folder.config))
    return RunPlan(config, info, folder, checkpoint, previous, damaged, files)


def _find_checkpoint(resume: str | None, folder: RunFolder) -> tuple[Path | None, tuple[Damaged, ...]]:
    if resume is None:
        return None, ()
    if resume == RESUME_AUTO:
        newest, damaged = newest_intact_checkpoint(folder.checkpoints)
        if newest is None and damaged:
            reasons = "; ".join(each.reason for each in damaged)
            raise FileFormatError(f"{folder.checkpoints}: no checkpoint is intact: {reasons}")
        return newest, tuple(damaged)
    if not Path(resume).is_file():
        raise ConfigError(f'--resume {resume}: no such checkpoint; expected a file, or "auto"')
    return Path(resume), ()


def _check_place(request: RunRequest, folder: RunFolder, checkpoint: Path | None, damaged: tuple[Damaged, ...]) -> None:
    """The run folder must be new, or one that this run continues from its end."""
    if checkpoint is None:
        if request.resume is None or not folder.has_only_begun():
            folder.check_unused()
    elif run_of(checkpoint) != folder.path.resolve():
        folder.check_unused()
    else:
        unusable = {each.path for each in damaged}
        newest = [path for path in checkpoint_positions(folder.checkpoints).values() if path not in unusable][-1]
        if newest.resolve() != checkpoint.resolve():
            raise OutputError(
                f"{folder.path}: holds a later checkpoint, {newest.name}, than {checkpoint.name}; "
                "choose another --output to branch off"
            )


def run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint is in, if it is in one."""
    folder = RunFolder(checkpoint.resolve().parent.parent)
    return folder.path if folder.checkpoints == checkpoint.resolve().parent else None


def check_same_network(stored: RunConfig, config: RunConfig, origin: str) -> None:
    """Check that ``config`` describes the network, data, seed, loss and optimiser of the run from ``origin``.

    Raises
    ------
    ConfigError
        It does not.
    """
    fixed = {
        **FIXED_KEYS,
        "training": (*FIXED_KEYS["training"], stored.training.loss),
        "data": (*fixed_keys(), "validation_fraction"),
    }
    for section, keys in fixed.items():
        before, now = getattr(stored, section).model_dump(), getattr(config, section).model_dump()
        for key in keys or before:
            if before.get(key) != now.get(key):
                raise ConfigError(
                    f"{section}.{key} = {now[key]!r}: {origin} was trained with {before[key]!r}; "
                    "a run can be resumed with the same network, data, seed, loss and optimiser only"
                )
    acted, acts = (make_updater(each.evolution).acting_share for each in (stored, config))
    if acted != acts:
        raise ConfigError(
            f"evolution.{config.evolution.strategy}: {acts:.0%} of the connections act, but {origin} was trained with "
            f"{acted:.0%}; a run can be resumed with the same network only"
        )
