"""Checkpoints of small networks that look trained, and what they compute in double precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from hpc_sparse.training.replica import Replica

CTX = ParallelContext.serial(threads=1)
N_FEATURES = 30
SLOPES = (-0.6, 0.6, 1.0)
"""Of All-ReLU behind two hidden layers and of the outputs."""


@pytest.fixture
def write_network(tmp_path: Path, make_config: Callable) -> Callable[..., Path]:
    """Write the checkpoint of a network for 30 features with biases of its own, with statistics unless told not to."""

    def write(*overrides: str, has_statistics: bool = True, n_outputs: int = 3, name: str = "net.h5") -> Path:
        config, rng = make_config(*overrides), np.random.default_rng(6)
        replica = Replica.random(config, N_FEATURES, n_outputs)
        for layer in replica.network.layers:
            layer.bias[:] = rng.standard_normal(layer.bias.size)
        mean = rng.uniform(2, 9, N_FEATURES).astype(np.float32) if has_statistics else None
        deviation = rng.uniform(1, 3, N_FEATURES).astype(np.float32) if has_statistics else None
        layers = replica.to_states(config.network.activation)
        state = Checkpoint(config.to_toml(), 3, 36, 1, layers, {}, None, mean=mean, deviation=deviation)
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
        for layer, slope in zip(state.layers, SLOPES, strict=True):
            matrix = np.zeros(layer.shape)
            matrix[np.repeat(np.arange(layer.shape[0]), np.diff(layer.indptr)), layer.indices] = layer.weight
            sums = values @ matrix.T + layer.bias
            values = np.where(sums >= 0, sums, slope * sums)
        return values

    return compute
