"""Everything together with everything else: each pair of settings trains, goes on and is exported, or is refused.

The settings of AXES are combined so that every two values of different axes meet in one run at least. A pair that a
configuration refuses by itself, with all other settings at their first values, is refused with one message that names
one of its keys; it is left out of the runs. With what a registry or the model of the configuration lists, a new kind
or strategy is combined without a change here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from hpc_sparse.config import (
    EvolutionSection,
    ImportancePruningSection,
    OptimizerSection,
    TrainingSection,
    load_config,
)
from hpc_sparse.config.layers import CONNECTION_KINDS, LAYER_SECTIONS, TOPOLOGIES
from hpc_sparse.config.registry import OBJECTIVES, OPTIMIZERS, STRATEGIES, Registry
from hpc_sparse.errors import ConfigError, HpcSparseError
from hpc_sparse.inference import load_model
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path
from hpc_sparse.storage.dataset.file import load_samples

CONFIG = """
[data]
path = "data.h5"
[network]
epsilon = 4
dropout = 0.1
[training]
epochs = 3
batch_size = 40
[evolution]
growth_samples = 40
growth_pool = 48
[importance_pruning]
after_epoch = 1
every_epochs = 1
[parallel]
learning_rate_scaling = "none"
[checkpoint]
every_epochs = 1
keep_last = 3
[runtime]
threads = 1
oversubscribe = true
"""
N_EPOCHS = 3
N_SAMPLES = 56
"""For each rank that trains: two steps an epoch, of a batch of two tiles and one of a single tile."""

Axis = Mapping[str, tuple[str, ...]]
"""Overrides by the name of a value; the first is the usual one."""

Combination = Mapping[str, str]
"""The value's name by axis."""


def choices(section: Any, key: str) -> Axis:
    """All values of a key that has a list of them."""
    name = {
        TrainingSection: "training",
        OptimizerSection: "optimizer",
        EvolutionSection: "evolution",
    }.get(section, "importance_pruning")
    default = section.model_fields[key].default
    values = sorted(get_args(section.model_fields[key].annotation), key=lambda value: value != default)
    return {value: (f"{name}.{key}={value}",) for value in values}


def kinds(registry: Registry) -> Axis:
    """All kinds of a registry, the usual one first."""
    return {name: (f"{registry.key}={name}",) for name in registry.names()}


def strategies() -> Axis:
    """Every strategy, and those that can have a reserve also with one."""
    found: dict[str, tuple[str, ...]] = {name: (f"evolution.strategy={name}",) for name in ("set", *STRATEGIES.names())}
    for name, section in STRATEGIES.sections().items():
        if "acting_share" in section.model_fields:
            found[f"{name} with a reserve"] = (*found[name], f"evolution.{name}.acting_share=0.5")
    return found


def layers() -> Axis:
    """Two hidden layers of each kind with each kind of connections, and layers of different kinds of connections.

    Those that read sequences have connections of one kind: others differ in what tests of the layer look at.
    """
    tables: dict[str, tuple[tuple[str, str], ...]] = {
        f"{kind} {stored}": ((kind, stored),) * 2
        for kind, stored in product(LAYER_SECTIONS, CONNECTION_KINDS)
        if not LAYER_SECTIONS[kind].reads_sequences or stored == "csr"
    }
    tables["different"] = tuple(("sparse", stored) for stored in ("csr", *CONNECTION_KINDS))
    found, settings = dict[str, tuple[str, ...]](), {"n_of_m": ', pattern = "2:4"', "block": ", block = [4, 8]"}
    for name, pairs in tables.items():
        each = [
            f'{{kind = "{kind}", connections = "{stored}", n = {n}{settings.get(stored, "")}}}'
            for (kind, stored), n in zip(pairs, (24, 17, 20, *range(21, 40)), strict=False)
        ]
        if LAYER_SECTIONS[pairs[0][0]].reads_sequences:
            each[0] = each[0].replace("}", ', output = "all"}')
        found[name] = (f"network.layers=[{', '.join(each)}]",)
    return found


def axes() -> dict[str, Axis]:
    """What is combined, by the key that a message may name."""
    return {
        "network.layers": layers(),
        "evolution.strategy": strategies(),
        "parallel": {
            "shared": (),
            "independent": ("parallel.replica_topology=independent",),
            "overlap": ("parallel.overlap=true", "parallel.sync_every_steps=1"),
            "reset": ("parallel.velocity_at_sync=reset",),
            "wassp": ("parallel.algorithm=wassp", "parallel.phase2_share=0.4"),
            "wasap": ("parallel.algorithm=wasap", "parallel.phase2_share=0.4"),
        },
        "training.activations": choices(TrainingSection, "activations"),
        "importance_pruning.mode": choices(ImportancePruningSection, "mode"),
        "network.initial_topology": {name: (f"network.initial_topology={name}",) for name in TOPOLOGIES},
        "training.loss": kinds(OBJECTIVES),
        "training.optimizer": kinds(OPTIMIZERS),
        "optimizer.velocity": choices(OptimizerSection, "velocity"),
        "evolution.every_steps": {"epochs": (), "steps": ("evolution.every_steps=1",)},
        "evolution.grown_weights": choices(EvolutionSection, "grown_weights"),
        "evolution.final_density": {"same": (), "shrinks": ("evolution.final_density=0.05",)},
    }


class Cover:
    """The pairs of values that are refused, and combinations in which all others meet.

    Parameters
    ----------
    path
        The configuration that overrides are for.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.axes = path, axes()
        self.refused = dict[frozenset[tuple[str, str]], str]()
        values = [(axis, value) for axis, found in self.axes.items() for value in found]
        for value in values:
            self._ask((value,))
        alone = set().union(*self.refused)
        usual = [value for value in values if value not in alone]
        for pair in combinations(usual, 2):
            if pair[0][0] != pair[1][0]:
                self._ask(pair)
        self.rows = list(self._rows({frozenset(pair) for pair in combinations(usual, 2) if pair[0][0] != pair[1][0]}))

    def overrides(self, combination: Combination) -> tuple[str, ...]:
        """What to set for a combination; the first values where it names none."""
        named = {axis: combination.get(axis, next(iter(found))) for axis, found in self.axes.items()}
        return tuple(override for axis, value in named.items() for override in self.axes[axis][value])

    def _ask(self, values: tuple[tuple[str, str], ...]) -> None:
        try:
            load_config(self._path, self.overrides(dict(values)))
        except ConfigError as error:
            self.refused[frozenset(values)] = str(error)

    def _rows(self, pairs: set[frozenset[tuple[str, str]]]) -> Iterator[Combination]:
        """Each begins with a pair that is left and gets, axis by axis, the value that meets most others anew."""
        left = sorted(map(sorted, pairs - self.refused.keys()))
        while left:
            row = dict(left[0])
            missing = {frozenset(pair) for pair in left}
            for axis, found in self.axes.items():
                if axis not in row:
                    row[axis] = max(found, key=lambda value: self._worth(row, (axis, value), missing))
            met = {frozenset(pair) for pair in combinations(row.items(), 2)}
            left = [pair for pair in left if frozenset(pair) not in met]
            yield row

    def _worth(self, row: Combination, value: tuple[str, str], missing: set[Any]) -> int:
        pairs = [frozenset((value, other)) for other in row.items()]
        if frozenset((value,)) in self.refused or any(pair in self.refused for pair in pairs):
            return -1
        return sum(pair in missing for pair in pairs)


@pytest.fixture
def cover(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Cover:
    """In a folder with configuration and data, two steps an epoch for each rank."""

    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        n_train = N_SAMPLES * ctx.size
        write_small_data(mpi_tmp_path / "data.h5", n_train=n_train, n_test=20, n_classes=2, time_steps=3)

    on_root(ctx, write)
    return Cover(mpi_tmp_path / "run.toml")


def train_and_go_on(ctx: ParallelContext, folder: Path, overrides: tuple[str, ...], name: str) -> tuple[Path, Path]:
    """The last checkpoint of a run, and that of one that goes on from the first epoch."""
    whole, again = folder / name, folder / f"{name}-again"
    for output, resume in ((whole, None), (again, str(checkpoint_path(whole / "checkpoints", 1)))):
        train_run(ctx, RunRequest(folder / "run.toml", overrides, output, resume=resume), SilentReporter())
        barrier(ctx)
    return checkpoint_path(whole / "checkpoints", N_EPOCHS), checkpoint_path(again / "checkpoints", N_EPOCHS)


def check_ends(ends: tuple[Path, Path], *, is_bitwise: bool) -> None:
    """Both runs came to finite values, and to the same ones."""
    serial = ParallelContext.serial(threads=1)
    for layer, other in zip(*(read_checkpoint(serial, path).layers for path in ends), strict=True):
        arrays, others = layer.arrays(), other.arrays()
        assert arrays.keys() == others.keys()
        for name, values in arrays.items():
            assert np.isfinite(values).all(), name
            assert np.isfinite(others[name]).all(), name
            if is_bitwise:
                np.testing.assert_array_equal(values, others[name], err_msg=name)


def check_export(end: Path, data: Path) -> None:
    """The network goes to an archive and predicts the same when it comes back."""
    archive, back = end.with_suffix(".npz"), end.with_name("back.h5")
    export_model(end, archive)
    import_model(archive, back)
    values = load_samples(data, "test").features.values
    sums, again = (load_model(path, threads=1).weighted_sums(values) for path in (end, back))
    np.testing.assert_allclose(sums, again, rtol=1e-5, atol=1e-6)


@pytest.mark.mpi(ranks=[1, 2])
def test_all_pairs_train_go_on_and_are_exported(ctx: ParallelContext, cover: Cover, mpi_tmp_path: Path) -> None:
    failed = []
    for number, row in enumerate(cover.rows):
        try:
            ends = train_and_go_on(ctx, mpi_tmp_path, cover.overrides(row), str(number))
            if ctx.is_root:
                check_ends(ends, is_bitwise=row["parallel"] != "wasap" or ctx.size == 1)
                check_export(ends[0], mpi_tmp_path / "data.h5")
        except (HpcSparseError, AssertionError) as error:
            failed.append(f"{' '.join(cover.overrides(row))}: {error!r}")
        barrier(ctx)
    assert not any(gather_objects(ctx, failed)), "\n".join(failed)


@pytest.mark.mpi(ranks=[2])
def test_what_is_refused_is_one_message_that_names_the_key(
    ctx: ParallelContext,
    cover: Cover,
    mpi_tmp_path: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    assert ConfigError.exit_code == 2
    for values in cover.refused:
        overrides = cover.overrides(dict(values))
        request = RunRequest(mpi_tmp_path / "run.toml", overrides, mpi_tmp_path / "refused")
        message = same_error_everywhere(ConfigError, partial(train_run, ctx, request, SilentReporter()))
        own = [override.partition("=")[0] for axis, value in values for override in cover.axes[axis][value]]
        assert any(key in message for key in own), message
        assert "\n" not in message
        assert not on_root(ctx, (mpi_tmp_path / "refused").exists)


@pytest.mark.mpi(ranks=[1])
def test_every_two_values_meet_or_are_refused(cover: Cover) -> None:
    values = [(axis, value) for axis, found in cover.axes.items() for value in found]
    met = {frozenset(pair) for row in cover.rows for pair in combinations(row.items(), 2)}
    for pair in combinations(values, 2):
        if pair[0][0] != pair[1][0]:
            refused = {frozenset(pair), frozenset(pair[:1]), frozenset(pair[1:])} & cover.refused.keys()
            assert (frozenset(pair) in met) != bool(refused), pair
