"""A front end that only this file knows trains, is stored, goes on bit for bit, evaluates, predicts and is exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest

from hpc_sparse.config import RunConfig, Section, load_config
from hpc_sparse.config.section import Positive
from hpc_sparse.errors import ConfigError, HpcSparseError
from hpc_sparse.inference import load_model
from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.inputs.registry import register, unregister
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.models.pruning import PruningRequest, prune_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.connections.registry import connections_from_state
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.parallel.collectives import all_gather_parts, barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_samples, read_info
from hpc_sparse.storage.dataset.samples import Dataset, DatasetInfo, Samples
from hpc_sparse.storage.upgrade import upgrade_file
from hpc_sparse.storage.verification import verify_container

CONFIG = """
[data]
path = "data.h5"
[data.largest_is_one]
floor = 0.5
[network]
hidden = [24, 17]
epsilon = 4
[training]
epochs = 3
batch_size = 20
[checkpoint]
keep_last = 3
[optimizer]
learning_rate = 0.1
[evolution]
strategy = "rigl"
[runtime]
threads = 1
oversubscribe = true
"""


class LargestIsOneSection(Section):
    """Division by the largest size of each feature."""

    floor: Positive = 1.0
    """Least divisor."""


@dataclass(frozen=True)
class LargestIsOne(FrontEnd):
    """Each value divided by the largest absolute value of its feature, by a floor at least."""

    name: ClassVar[str] = "largest_is_one"
    array_names: ClassVar[tuple[str, ...]] = ("largest",)
    section: ClassVar[type[Section]] = LargestIsOneSection

    largest: np.ndarray

    @classmethod
    def fit(cls, ctx: ParallelContext, config: RunConfig, dataset: Dataset) -> Mapping[str, np.ndarray]:
        if cls.settings(config) is None:
            return {}
        own = np.abs(dataset.train.features.values.astype(np.float32)).max(axis=0)
        return {
            "largest": np.maximum(np.max(all_gather_parts(ctx, own), axis=0), np.float32(cls.settings(config).floor))
        }

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, np.ndarray]) -> Self | None:
        return cls(arrays["largest"]) if arrays else None

    @classmethod
    def planned_bytes(cls, config: RunConfig, info: DatasetInfo, stride: int) -> int:
        return 0 if cls.settings(config) is None else 4 * info.n_features * (1 + stride)

    @property
    def n_features(self) -> int:
        return self.largest.size

    def apply(self, batch: np.ndarray, n_samples: int, out: np.ndarray) -> None:
        assert batch.shape == out.shape
        assert batch.shape[1] in (1, *WIDTHS)
        assert 0 <= n_samples <= batch.shape[1]
        assert not batch[:, n_samples:].any()
        np.divide(batch, self.largest[:, None], out=out)

    def fold(self, layer: SparseLayer) -> SparseLayer:
        weight = layer.weight / self.largest[layer.topology.indices]
        return replace(layer, incoming=layer.incoming.rewired(layer.topology, weight))


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(LargestIsOne)
    yield
    unregister(LargestIsOne)


def run(ctx: ParallelContext, folder: Path, name: str, *overrides: str) -> Path:
    """Train, or go on, and give the newest checkpoint."""
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume="auto")
    train_run(ctx, request, SilentReporter())
    newest = on_root(ctx, lambda: newest_checkpoint(folder / name / "checkpoints"))
    assert newest is not None
    return newest


def outputs(state: Checkpoint, largest: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What the network gives, in float64 and by dense matrices."""
    values = (values.astype(np.float64) - state.mean) / state.deviation / largest
    if state.neuron_ids and state.neuron_ids[0] is not None:
        values = values[:, state.neuron_ids[0]]
    for layer, slope in zip(state.layers, (-0.6, 0.6, 1.0), strict=True):
        matrix = connections_from_state(layer.connections["input"], layer.parameters["weight"]).to_csr().toarray()
        sums = values @ matrix.T + layer.parameters["bias"]
        values = np.where(sums >= 0, sums, slope * sums)
    return values


def check_same(one: Path, other: Path) -> None:
    """Two checkpoints hold the same network and front ends, bit for bit."""
    found = [read_checkpoint(ParallelContext.serial(threads=1), path) for path in (one, other)]
    assert found[0].front_end.keys() == found[1].front_end.keys()
    for name, array in found[0].front_end.items():
        np.testing.assert_array_equal(found[1].front_end[name], array)
    for layers in zip(*(each.layers for each in found), strict=True):
        own, others = (layer.arrays() for layer in layers)
        for name, array in own.items():
            np.testing.assert_array_equal(array, others[name])


def check_plan(folder: Path) -> None:
    """The plan has the bytes that the front end says it takes."""
    config, info = load_config(folder / "run.toml"), read_info(folder / "data.h5")
    size = NetworkSize.expected(config.network, info.n_features, info.n_classes)
    with_it, without = (plan_memory(each, size, info, 1).resident for each in (config, LargestIsOne.without(config)))
    assert with_it - without == 4 * info.n_features * (1 + 32)


def check_batches(state: Checkpoint, samples: Samples, largest: np.ndarray) -> None:
    """Batches in tiles of any width have the same bits, 0 beyond the batch."""
    chain = FrontEndChain((Standardise(state.mean, state.deviation), LargestIsOne(largest)))
    for n in (1, 16, 32, 48, 97, 128, 240):
        chosen = np.random.default_rng(n).permutation(n)
        exact = (samples.features.values[chosen] - state.mean) / state.deviation / largest  # type: ignore[union-attr]
        found = []
        for width in WIDTHS:
            batch, _ = BatchAssembler(chain, largest.size, 240, width).assemble(samples, chosen)
            assert batch.width == width
            found.append(batch.matrix())
            np.testing.assert_array_equal(found[0], found[-1])
            np.testing.assert_allclose(found[-1][:, :n], exact.T, rtol=1e-5, atol=1e-6)
            assert not found[-1][:, n:].any()


def check_files(folder: Path, path: Path) -> None:
    """On one process: storage, prediction, pruning and export."""
    alone = ParallelContext.serial(threads=1)
    state, train_part = read_checkpoint(alone, path), load_samples(folder / "data.h5", "train")
    test = load_samples(folder / "data.h5", "test")
    values = test.features.values  # type: ignore[union-attr]
    largest = np.maximum(np.abs(train_part.features.values).max(axis=0), 0.5)  # type: ignore[union-attr]
    np.testing.assert_array_equal(state.front_end["largest_is_one/largest"], largest)
    verify_container(path)
    assert upgrade_file(path).previous == upgrade_file(path).version

    check_batches(state, train_part, largest)
    model = load_model(path)
    found = model.weighted_sums(values)
    np.testing.assert_allclose(found, outputs(state, largest, values), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(model.weighted_sums(values[:1]), found[:1])
    accuracy = evaluate_checkpoint(alone, path, folder / "data.h5")["test_accuracy"]
    assert accuracy == np.mean(model.predict(values) == test.labels)
    assert accuracy > 0.8

    pruning = PruningRequest(path, percentile=20, input_percentile=30)
    prune_checkpoint(alone, pruning)
    pruned = read_checkpoint(alone, pruning.target_file)
    expected = outputs(pruned, largest, values)
    np.testing.assert_allclose(load_model(pruning.target_file).weighted_sums(values), expected, rtol=1e-4, atol=1e-4)
    for number, source in enumerate((path, pruning.target_file)):
        export_model(source, folder / f"{number}.npz")
        import_model(folder / f"{number}.npz", folder / f"{number}.h5")
        back, before = load_model(folder / f"{number}.h5"), load_model(source)
        assert back.config.data.standardize
        assert LargestIsOne.settings(before.config) is not None
        assert LargestIsOne.settings(back.config) is None
        np.testing.assert_allclose(back.weighted_sums(values), before.weighted_sums(values), rtol=1e-4, atol=1e-4)


@pytest.mark.mpi(ranks=[2])
@pytest.mark.usefixtures("narrow_tiles")
def test_a_front_end_of_its_own_goes_all_the_way(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    whole = run(ctx, folder, "whole")
    run(ctx, folder, "parts", "training.epochs=1")
    parts = run(ctx, folder, "parts")
    on_root(ctx, lambda: check_same(whole, parts))
    on_root(ctx, lambda: check_plan(folder))
    on_root(ctx, lambda: check_files(folder, whole))
    barrier(ctx)
    message = same_error_everywhere(
        ConfigError, lambda: run(ctx, folder, "parts", "training.epochs=4", "data.largest_is_one={floor=0.7}")
    )
    assert "data.largest_is_one = {'floor': 0.7}" in message
    unregister(LargestIsOne)
    message = same_error_everywhere(ConfigError, lambda: run(ctx, folder, "parts", "training.epochs=4"))
    assert "data.largest_is_one: unknown key" in message
    register(LargestIsOne)
