"""An optimiser and an objective that only this file knows: they train, sync, evolve, go on, are planned and predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest

from hpc_sparse.config import ParallelSection, RunConfig, Section, load_config, parse_config
from hpc_sparse.config.reference import configuration_reference
from hpc_sparse.config.registry import OBJECTIVES, OPTIMIZERS
from hpc_sparse.config.section import Fraction, Positive
from hpc_sparse.errors import ConfigError, HpcSparseError
from hpc_sparse.inference import load_model
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.kernels.loss import softmax_cross_entropy
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.objectives.protocol import N_CORRECT, Objective, Outcome, OutputActivation
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.probe import time_network
from hpc_sparse.planning.traffic import checkpoint_file_bytes, message_bytes
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.dataset.file import load_samples, read_info
from hpc_sparse.storage.upgrade import upgrade_file
from hpc_sparse.storage.verification import verify_container

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
[training]
epochs = 3
batch_size = 20
optimizer = "adam"
loss = "stretched"
[training.stretched]
factor = 1.5
[checkpoint]
keep_last = 3
[optimizer]
learning_rate = 0.01
weight_decay = 0.01
schedule = "step"
step_epochs = 1
[optimizer.adam]
mean_share = 0.8
[runtime]
threads = 1
oversubscribe = true
"""
STATES = ("mean", "square")


class AdamSection(Section):
    """Adam with decoupled weight decay."""

    mean_share: Fraction = 0.9
    """Share of the mean gradient that stays."""

    square_share: Fraction = 0.99
    """Share of the mean squared gradient that stays."""


@dataclass(frozen=True)
class Adam(Optimizer):
    """Two state arrays, steps from written gradients, and a state that a sync may forget."""

    name: ClassVar[str] = "adam"
    state_arrays: ClassVar[Mapping[str, str]] = {"mean": "mean gradients", "square": "mean squared gradients"}
    momentum_array: ClassVar[str | None] = "mean"
    section: ClassVar[type[Section]] = AdamSection

    mean_share: float
    square_share: float
    weight_decay: float

    @classmethod
    def from_config(cls, config: RunConfig) -> Self:
        own = config.optimizer.own(cls.name, AdamSection)
        return cls(own.mean_share, own.square_share, config.optimizer.weight_decay)

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        if config.optimizer.nesterov:
            return 'training.optimizer = "adam": not with optimizer.nesterov = true'
        return None

    @classmethod
    def reset_at_sync(cls, parallel: ParallelSection) -> frozenset[str]:
        return frozenset({"mean"} if parallel.velocity_at_sync == "reset" else ())

    @classmethod
    def step_bytes(cls, n: int) -> int:
        return 3 * 4 * n

    def descend(
        self,
        rate: float,
        values: np.ndarray,
        gradient: np.ndarray,
        n_decayed: int,
        states: Mapping[str, np.ndarray],
    ) -> None:
        mean, square = states["mean"], states["square"]
        mean += np.float32(1 - self.mean_share) * (gradient - mean)
        square += np.float32(1 - self.square_share) * (gradient * gradient - square)
        values[:n_decayed] *= np.float32(1 - rate * self.weight_decay)
        values -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-6))

    def change_rate(self, states: Mapping[str, np.ndarray], factor: float) -> None:
        states["square"] *= np.float32(factor)


class StretchedSection(Section):
    """Cross-entropy times a factor."""

    factor: Positive = 2.0
    """The factor."""


@dataclass(frozen=True)
class Stretched(Objective):
    """Cross-entropy times a factor, with a metric of its own beside the correct predictions."""

    name: ClassVar[str] = "stretched"
    output: ClassVar[OutputActivation] = "softmax"
    section: ClassVar[type[Section]] = StretchedSection

    factor: float

    def evaluate(self, sums: Tiles, targets: np.ndarray, delta: Tiles) -> Outcome:
        loss, n_correct = softmax_cross_entropy(sums.values, targets, sums.n_neurons, sums.width, delta.values)
        delta.values[:] *= np.float32(self.factor)
        return Outcome(self.factor * loss, {N_CORRECT: n_correct, "n_wrong": targets.size - n_correct})

    def exact_loss(self, sums: np.ndarray, targets: np.ndarray) -> float:
        own = sums[targets, np.arange(targets.size)]
        return self.factor * float(np.mean(np.log(np.exp(sums - own).sum(axis=0))))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the lines of the registries do, for as long as a test."""
    for registry, kind in ((OPTIMIZERS, Adam), (OBJECTIVES, Stretched)):
        monkeypatch.setattr(registry, "_kinds", dict(registry._kinds))
        registry.register(kind)


def run(ctx: ParallelContext, folder: Path, name: str, *overrides: str) -> Path:
    """Train, or go on, and give the newest checkpoint."""
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume="auto", is_debug=True)
    train_run(ctx, request, SilentReporter())
    newest = on_root(ctx, lambda: newest_checkpoint(folder / name / "checkpoints"))
    assert newest is not None
    return newest


def check_same(one: Path, other: Path) -> None:
    """Two checkpoints hold the same network and states, bit for bit."""
    found = [read_checkpoint(ParallelContext.serial(threads=1), path).layers for path in (one, other)]
    for layers in zip(*found, strict=True):
        arrays, others = (layer.arrays() for layer in layers)
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, others[name], err_msg=name)


def check_files(folder: Path, path: Path) -> None:
    """On one process: storage, evaluation, prediction and export."""
    alone, data = ParallelContext.serial(threads=1), folder / "data.h5"
    verify_container(path)
    assert upgrade_file(path).previous == upgrade_file(path).version
    state = read_checkpoint(alone, path)
    for layer in state.layers:
        assert set(layer.states) == {f"{owner}_{name}" for owner in ("weight", "bias") for name in STATES}
        assert (layer.states["weight_square"] >= 0).all()
        is_forgotten = 'velocity_at_sync = "reset"' in state.config_text
        assert [layer.states[f"weight_{name}"].any() for name in STATES] == [not is_forgotten, True]
    assert "[optimizer.adam]\nmean_share = 0.8\nsquare_share = 0.99" in state.config_text
    assert "[training.stretched]\nfactor = 1.5" in state.config_text

    test = load_samples(data, "test")
    model = load_model(path)
    accuracy = evaluate_checkpoint(alone, path, data)["test_accuracy"]
    assert accuracy == np.mean(model.predict(test.features.values) == test.labels) > 0.8
    np.testing.assert_allclose(model.predict_proba(test.features.values).sum(axis=1), 1, rtol=1e-5)
    archive, back = path.with_suffix(".npz"), path.with_name("back.h5")
    export_model(path, archive)
    import_model(archive, back)
    for layer, before in zip(read_checkpoint(alone, back).layers, state.layers, strict=True):
        assert layer.states.keys() == before.states.keys()
        assert not any(array.any() for array in layer.states.values())


def check_plan(folder: Path, checkpoint: Path) -> None:
    """State arrays, written gradients, messages and files have the bytes that the optimiser's arrays take."""
    config, info = load_config(folder / "run.toml"), read_info(folder / "data.h5")
    size = NetworkSize.expected(config.network, info.n_features, info.n_classes)
    items = {item.name: item.n_bytes for item in plan_memory(config, size, info, 2).items}
    n_bytes = 4 * size.n_parameters
    assert "velocities" not in items
    assert (items["mean gradients"], items["mean squared gradients"]) == (n_bytes, n_bytes)
    largest, passing = (
        max(layer.n_parameters for layer in size.layers),
        max(layer.n_connections for layer in size.layers[1:]),
    )
    # Of two tiles, and of a single one.
    for n_batch, n_written in ((20, max(2 * passing, largest)), (16, largest)):
        batches = load_config(folder / "run.toml", [f"training.batch_size={n_batch}"])
        items = {item.name: item.n_bytes for item in plan_memory(batches, size, info, 2).items}
        assert items["gradients of one layer"] == 4 * (n_written + 3 * largest)
    assert message_bytes(config, size) == 3 * n_bytes
    forgetful = load_config(folder / "run.toml", ["parallel.velocity_at_sync=reset"])
    assert message_bytes(forgetful, size) == 2 * n_bytes
    sgd = load_config(folder / "run.toml", ["training.optimizer=sgd"])
    assert checkpoint_file_bytes(config, size) - checkpoint_file_bytes(sgd, size) == 4 * (
        size.n_connections + sum(layer.n_out for layer in size.layers)
    )
    assert time_network(config, size, 1).step > 0
    assert checkpoint.stat().st_size > 0


@pytest.mark.mpi(ranks=[1])
@pytest.mark.parametrize("n_samples", [16, 32, 48, 97, 128, 240])
def test_an_objective_finds_the_same_in_tiles_of_any_width(n_samples: int) -> None:
    rng, objective = np.random.default_rng(n_samples), Stretched(1.5)
    sums, targets = rng.standard_normal((3, n_samples)).astype(np.float32), rng.integers(0, 3, n_samples, np.int32)
    exact = objective.exact_loss(sums.astype(np.float64), targets)
    found = []
    for width in WIDTHS:
        outputs = Tiles.of(sums, width)
        delta = outputs.like(3)
        outcome = objective.evaluate(outputs, targets, delta)
        assert outcome.loss == pytest.approx(n_samples * exact, rel=1e-6)
        assert outcome.metrics[N_CORRECT] == np.sum(sums.argmax(axis=0) == targets)
        found.append((outcome, outputs.matrix(), delta.matrix()))
    softmax = np.exp(sums.astype(np.float64))
    softmax /= softmax.sum(axis=0)
    of_means = 1.5 * (softmax - (targets == np.arange(3)[:, None])) / n_samples
    for outcome, outputs, delta in found:
        assert outcome == found[0][0]
        np.testing.assert_array_equal(outputs[:, :n_samples], found[0][1][:, :n_samples])
        np.testing.assert_array_equal(delta, found[0][2])
        np.testing.assert_allclose(outputs[:, :n_samples], softmax, rtol=1e-5)
        np.testing.assert_allclose(delta[:, :n_samples], of_means, rtol=1e-4, atol=1e-9)
        assert not delta[:, n_samples:].any()


@pytest.mark.mpi(ranks=[2])
@pytest.mark.usefixtures("narrow_tiles")
def test_they_go_all_the_way(ctx: ParallelContext, folder: Path) -> None:
    for parallel in (
        (),
        ("parallel.replica_topology=independent",),
        ("parallel.velocity_at_sync=reset", "parallel.sync_every_steps=3"),
        ("parallel.overlap=true", "parallel.sync_every_steps=3"),
        ("parallel.algorithm=wassp",),
    ):
        name = "-".join(("run", *parallel)).replace("=", "-")
        whole = run(ctx, folder, f"{name}-whole", *parallel)
        run(ctx, folder, f"{name}-parts", "training.epochs=1", *parallel)
        parts = run(ctx, folder, f"{name}-parts", *parallel)
        if not any("wassp" in option for option in parallel):  # which ends with its own phase in the last epoch
            on_root(ctx, lambda whole=whole, parts=parts: check_same(whole, parts))
        on_root(ctx, lambda whole=whole: check_files(folder, whole))
    on_root(ctx, lambda: check_plan(folder, whole))
    for strategy in ("rigl", "snfs", "cht"):
        run(ctx, folder, strategy, f"evolution.strategy={strategy}", "training.epochs=2")
    barrier(ctx)


@pytest.mark.mpi(ranks=[2])
def test_they_are_checked_and_refused(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(ctx, folder, "run", "training.epochs=1")
    for options, expected in (
        (("optimizer.nesterov=true",), 'training.optimizer = "adam": not with optimizer.nesterov = true'),
        (("optimizer.adam.mean_share=1.5",), "optimizer.adam.mean_share = 1.5: must be less than 1"),
        (("optimizer.adam.mean=0.5",), "optimizer.adam.mean: unknown key"),
        (("optimizer.momentun=0.5",), "optimizer.momentun: unknown key; did you mean momentum?"),
        (("training.stretched.factor=0",), "training.stretched.factor = 0: must be greater than 0"),
        (("training.optimizer=sdg",), "training.optimizer = 'sdg': must be 'sgd', "),
        (("training.optimizer=sgd",), "training.optimizer = 'sgd': "),
        (("training.stretched.factor=2.5",), "training.stretched = {'factor': 2.5}: "),
    ):
        message = same_error_everywhere(
            ConfigError, lambda options=options: run(ctx, folder, "run", "training.epochs=2", *options)
        )
        assert expected in message
    reference = configuration_reference()
    assert "## `[optimizer.adam]`" in reference
    assert "## `[training.stretched]`" in reference
    config = load_config(folder / "run.toml", ["training.optimizer=sgd", "training.loss=mse"])
    assert parse_config(config.to_toml(), "stored") == config
    monkeypatch.setattr(Adam, "momentum_array", None)
    message = same_error_everywhere(ConfigError, lambda: run(ctx, folder, "snfs", "evolution.strategy=snfs"))
    assert 'evolution.strategy = "snfs": not with training.optimizer = "adam", which keeps no momentum' in message
    OPTIMIZERS._kinds.pop("adam")
    message = same_error_everywhere(ConfigError, lambda: run(ctx, folder, "run", "training.epochs=2"))
    assert "training.optimizer = 'adam': must be 'sgd'" in message
