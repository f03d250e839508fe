"""Layers of hyperbolic tangents against NumPy in float64: outputs, gradients, dropout, one sample, widths, threads."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from hpc_sparse.config import parse_config
from hpc_sparse.errors import ConfigError
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.dropout import NO_DROPOUT, Dropout
from hpc_sparse.network.layers.tanh import TanhLayer, TanhSection
from hpc_sparse.network.sinks import Write
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.gradient_check import check_gradients
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.replica_states import initial_replica

N_IN, N = 13, 26
CTX = ParallelContext.serial(threads=1)


def make_layer(kind):
    section = TanhSection(kind="tanh", n=N, connections=kind)
    density = 1 / N_IN if kind == "diagonal" else 0.4
    layer = TanhLayer.random(LayerBlueprint(0, (N, N_IN), density, "relu", 0.0, "he_fan_in", 3, section=section))
    layer.bias[:] = np.random.default_rng(1).standard_normal(N) / 2
    return layer


def passed(layer, x, above, width, dropout):
    """Outputs, deltas below, gradients."""
    source, delta = Tiles.of(x, width), Tiles.of(above, width)
    saved = {name: np.full(each.shape, 0, each.dtype) for name, each in layer.saved_arrays(source.batch).items()}
    out, below = source.like(N), source.like(N_IN)
    layer.forward(source, out, saved, dropout)
    gate = layer.gate(saved, dropout)
    gradients = {name: np.full_like(each.values, np.nan) for name, each in layer.parameters().items()}
    is_kept = np.ones((N, x.shape[1]), bool)
    if dropout.rate:
        is_kept = out.matrix()[:, : x.shape[1]] != 0
    # The layer above multiplies the gate into its deltas.
    delta.values[:] = Tiles.of(above * is_kept * gate.scale, width).values
    layer.backward(delta, source, saved, None, Write(gradients), below)
    n = x.shape[1]
    return out.matrix()[:, :n], below.matrix()[:, :n], gradients, is_kept


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("kind", ["csr", "diagonal", "dense"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_samples", [5, 112])
def test_outputs_and_gradients_are_those_of_float64(kind, width, n_samples, rate):
    layer, rng = make_layer(kind), np.random.default_rng(4)
    x, above = (rng.standard_normal((n, n_samples)).astype(np.float32) for n in (N_IN, N))
    dropout = Dropout(rate, np.uint64(7)) if rate else NO_DROPOUT
    out, below, gradients, is_kept = passed(layer, x, above, width, dropout)
    weight = layer.incoming.to_csr().toarray().astype(np.float64)
    bent = np.tanh(weight @ x + layer.bias[:, None].astype(np.float64))
    factor = is_kept / (1 - rate)
    np.testing.assert_allclose(out, bent * factor, rtol=3e-6, atol=1e-6)
    if rate:
        assert 0.5 * rate < 1 - is_kept.mean() < 1.5 * rate
    deltas = above * factor * (1 - bent**2)
    np.testing.assert_allclose(below, weight.T @ deltas, rtol=1e-4, atol=1e-5)
    rows = np.repeat(np.arange(N), np.diff(layer.incoming.topology.indptr))
    of_weights = (deltas @ x.T)[rows, layer.incoming.topology.indices]
    np.testing.assert_allclose(gradients["weight"], of_weights, rtol=1e-4, atol=1e-5 * np.abs(of_weights).max())
    np.testing.assert_allclose(gradients["bias"], deltas.sum(axis=1), rtol=1e-4, atol=1e-4)
    values = {name: each.values.astype(np.float64) for name, each in layer.parameters().items()}
    exact, bend = layer.exact(x[None].astype(np.float64), values, factor[None])
    np.testing.assert_allclose(exact[0], bent * factor, rtol=1e-12)
    again, _ = layer.exact(x[None].astype(np.float64), values, None, bend)
    np.testing.assert_array_equal(again, exact)


@pytest.mark.parametrize("kind", ["csr", "diagonal"])
def test_one_sample_alone_has_the_bits_of_a_batch(kind):
    layer = make_layer(kind)
    x = np.random.default_rng(2).standard_normal((N_IN, 37)).astype(np.float32)
    source = Tiles.of(x, WIDTHS[0])
    out, alone = source.like(N), np.empty(N, np.float32)
    layer.forward(source, out)
    for sample in (0, 20, 36):
        layer.forward_alone(np.ascontiguousarray(x[:, sample]), alone)
        assert alone.tobytes() == np.ascontiguousarray(out.matrix()[:, sample]).tobytes()


CONFIG = """
[data]
path = "small.h5"
[network]
dropout = 0.2
initializer = "he_fan_in"
[[network.layers]]
n = 24
kind = "tanh"
connections = "diagonal"
[[network.layers]]
n = 9
kind = "tanh"
density = 0.5
[training]
epochs = 1
batch_size = 20
optimizer = "adagrad"
loss = "hinge"
"""


@pytest.mark.parametrize("kind", ["float32", "csr"])
def test_the_self_test_of_gradients_passes_for_the_published_model(make_dataset, kind):
    dataset = make_dataset(kind=kind)
    for batch in (20, 200):
        config = parse_config(CONFIG, "small.toml", (f"training.batch_size={batch}",))
        job = TrainingJob(CTX, config, dataset, initial_replica(config, dataset.info), SilentReporter())
        assert 0 < check_gradients(job, 1) < 1e-4


def test_what_a_layer_of_tangents_has_not_is_refused():
    with pytest.raises(ValidationError, match=r'activation = relu: kind = "tanh" has its own'):
        TanhSection(kind="tanh", n=3, activation="relu")
    with pytest.raises(ConfigError, match=r'not with training.activations = "bfloat16"'):
        parse_config(CONFIG, "small.toml", ("training.activations=bfloat16",))
