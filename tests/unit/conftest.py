"""Layers and data that the unit tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pytest
import scipy.sparse
from hypothesis import settings

from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.kernels.simd.buffers import aligned_empty, padded_columns
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.front_end import statistics_arrays
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.samples import CsrFeatures, Dataset, DatasetInfo, DenseFeatures, Samples
from hpc_sparse.training.replica_states import (
    random_replica,
    replica_to_states,
)

LONGEST_ROW = 20

CTX = ParallelContext.serial(threads=1)
N_CHECKPOINT_FEATURES = 30
CHECKPOINT_SLOPES = (-0.6, 0.6, 1.0)
"""Slopes of All-ReLU in two hidden layers, then that of the outputs."""

# The first call of a kernel compiles it; the same examples each time, so that a failure can be repeated anywhere.
settings.register_profile("kernels", deadline=None, derandomize=True, database=None)
settings.load_profile("kernels")


@dataclass(frozen=True)
class Connections:
    """A layer's arrays, and the same as a float64 SciPy matrix."""

    topology: Topology
    weight: np.ndarray
    bias: np.ndarray

    @property
    def matrix(self) -> scipy.sparse.csr_array:
        t = self.topology
        return scipy.sparse.csr_array((self.weight.astype(np.float64), t.indices, t.indptr), shape=t.shape)


def _ragged_topology(n_out: int, n_in: int, seed: int = 0) -> Topology:
    """Row ``i`` has ``i`` connections, again from 0 on after the longest row: every remainder, and empty rows."""
    rng = np.random.default_rng(seed)
    lengths = np.arange(n_out) % (min(LONGEST_ROW, n_in) + 1)
    rows = [np.sort(rng.choice(n_in, size, replace=False)) for size in lengths]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Topology((n_out, n_in), indptr, np.concatenate(rows).astype(np.int32))


@pytest.fixture
def make_topology() -> Callable[..., Topology]:
    """Make a topology with rows of 0 to 20 connections."""
    return _ragged_topology


@pytest.fixture
def make_connections() -> Callable[..., Connections]:
    """Make a layer of such a topology with normal weights and biases."""

    def make(n_out: int, n_in: int, seed: int = 0) -> Connections:
        topology = _ragged_topology(n_out, n_in, seed)
        rng = np.random.default_rng(seed + 1)
        weight = rng.standard_normal(topology.n_connections).astype(np.float32)
        return Connections(topology, weight, rng.standard_normal(n_out).astype(np.float32))

    return make


@pytest.fixture
def make_columns() -> Callable[..., np.ndarray]:
    """Make a float32[n, stride] of normal numbers that starts on a cache line, 0 beyond the batch."""

    def make(n: int, n_batch: int, stride: int | None = None, seed: int = 2) -> np.ndarray:
        columns = aligned_empty((n, stride or padded_columns(n_batch)), np.float32)
        columns[:] = 0
        columns[:, :n_batch] = np.random.default_rng(seed).standard_normal((n, n_batch))
        return columns

    return make


@pytest.fixture
def on_every_thread_count() -> Iterator[Callable[[Callable[[], object]], list[object]]]:
    """Run a function with 1 thread and with as many as there are, and give both results."""
    before = numba.get_num_threads()

    def run(function: Callable[[], object]) -> list[object]:
        results = []
        for n_threads in (1, numba.config.NUMBA_NUM_THREADS):
            use_threads(n_threads)
            results.append(function())
        return results

    yield run
    numba.set_num_threads(before)


@pytest.fixture
def make_config() -> Callable[..., RunConfig]:
    """Make the configuration of a small net, some of its values replaced."""

    def make(*overrides: str) -> RunConfig:
        text = """
            [data]
            path = "small.h5"
            [network]
            hidden = [24, 18]
            epsilon = 5
            dropout = 0.2
            initializer = "he_fan_in"
            [training]
            epochs = 4
            batch_size = 20
            seed = 3
            [optimizer]
            learning_rate = 0.05
        """
        return parse_config(text, "small.toml", overrides)

    return make


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """Make a data set of well separated classes: normal clusters around random centres."""

    def make(n_train: int = 230, n_test: int = 101, *, n_features: int = 12, n_classes: int = 3, kind: str = "float32"):
        rng = np.random.default_rng(8)
        centres = rng.standard_normal((n_classes, n_features)) * 2

        def part(n: int) -> tuple[np.ndarray, np.ndarray]:
            labels = (np.arange(n) % n_classes).astype(np.int32)
            values = centres[labels] + 0.7 * rng.standard_normal((n, n_features))
            return (values.astype(np.float32), labels)

        train, test = part(n_train), part(n_test)
        mean, deviation = train[0].mean(axis=0), train[0].std(axis=0)
        if kind == "uint8":
            train, test = (
                (np.clip(values * 16 + 128, 0, 255).astype(np.uint8), labels) for values, labels in (train, test)
            )
            mean, deviation = mean * 16 + 128, deviation * 16
        info = DatasetInfo(
            path=Path("small.h5"),
            title="clusters",
            source="",
            split="",
            n_train=n_train,
            n_test=n_test,
            n_features=n_features,
            n_classes=n_classes,
            class_names=tuple("abcdefghij"[:n_classes]),
            class_counts_train=tuple(np.bincount(train[1], minlength=n_classes).tolist()),
            class_counts_test=tuple(np.bincount(test[1], minlength=n_classes).tolist()),
            is_sparse=kind == "csr",
            dtype="float32" if kind == "csr" else kind,
            file_bytes=0,
            creator="test",
            format_version=1,
        )
        if kind == "csr":
            return Dataset(info, *(Samples(_as_csr(values), labels) for values, labels in (train, test)), None, None)
        samples = [Samples(DenseFeatures(values), labels) for values, labels in (train, test)]
        return Dataset(info, *samples, mean.astype(np.float32), deviation.astype(np.float32))

    return make


def _as_csr(values: np.ndarray) -> CsrFeatures:
    """The larger half of the values, stored sparsely."""
    matrix = scipy.sparse.csr_array(np.where(np.abs(values) > np.median(np.abs(values)), values, 0))
    return CsrFeatures(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data, values.shape[1])


@pytest.fixture
def write_network(tmp_path: Path, make_config: Callable) -> Callable[..., Path]:
    """Write the checkpoint of a network for 30 features with biases of its own, with statistics unless told not to."""

    def write(
        *overrides: str, has_statistics: bool = True, n_outputs: int = 3, name: str = "net.h5", places: int = 1
    ) -> Path:
        config, rng = make_config(*overrides), np.random.default_rng(6)
        replica = random_replica(config, N_CHECKPOINT_FEATURES // places, n_outputs, places)
        for layer in replica.network.layers:
            layer.bias[:] = rng.standard_normal(layer.bias.size)
        mean = rng.uniform(2, 9, N_CHECKPOINT_FEATURES).astype(np.float32) if has_statistics else None
        deviation = rng.uniform(1, 3, N_CHECKPOINT_FEATURES).astype(np.float32) if has_statistics else None
        layers = replica_to_states(replica)
        state = Checkpoint(config.to_toml(), 3, 36, 1, layers, {}, None, front_end=statistics_arrays(mean, deviation))
        write_checkpoint(CTX, tmp_path / name, state)
        return tmp_path / name

    return write


@pytest.fixture
def sums_of() -> Callable[[Path, np.ndarray], np.ndarray]:
    """What the network of a checkpoint gives for samples, in float64 and by dense matrices."""

    def compute(path: Path, values: np.ndarray) -> np.ndarray:
        state = read_checkpoint(CTX, path)
        values = np.asarray(values, np.float64)
        if state.mean is not None and "standardize = true" in state.config_text:
            values = (values - state.mean) / state.deviation
        if state.neuron_ids and state.neuron_ids[0] is not None:
            values = values[:, state.neuron_ids[0]]
        for layer, slope in zip(state.layers, CHECKPOINT_SLOPES, strict=True):
            matrix = np.zeros(layer.shape)
            structure = layer.connections["input"].structure
            neurons = np.repeat(np.arange(layer.shape[0]), np.diff(structure["indptr"]))
            matrix[neurons, structure["indices"]] = layer.parameters["weight"]
            sums = values @ matrix.T + layer.parameters["bias"]
            values = np.where(sums >= 0, sums, slope * sums)
        return values

    return compute
