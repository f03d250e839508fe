"""Kinds of connections and of layers that only this folder knows: they train, sync, evolve, go on, plan and predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.config import load_config
from hpc_sparse.errors import ConfigError, HpcSparseError
from hpc_sparse.inference import load_model
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.registry import connections_from_state
from hpc_sparse.network.dropout import NO_DROPOUT
from hpc_sparse.network.layers.sparse import sparse_layers
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.dataset.file import load_samples, read_info
from hpc_sparse.storage.verification import verify_container

CONFIG = """
[data]
path = "data.h5"
[network]
epsilon = 4
dropout = 0.1
[[network.layers]]
n = 24
connections = "keys"
[[network.layers]]
kind = "gained"
n = 17
start = 1.25
[[network.layers]]
n = 20
activation = "relu"
[training]
epochs = 3
batch_size = 20
[checkpoint]
keep_last = 3
[optimizer]
learning_rate = 0.05
[runtime]
threads = 1
oversubscribe = true
"""


def run(ctx: ParallelContext, folder: Path, name: str, *overrides: str) -> Path:
    """Train, or go on, and give the newest checkpoint."""
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume="auto")
    train_run(ctx, request, SilentReporter())
    newest = on_root(ctx, lambda: newest_checkpoint(folder / name / "checkpoints"))
    assert newest is not None
    return newest


def check_same(one: Path, other: Path) -> None:
    """Two checkpoints hold the same network, bit for bit."""
    found = [read_checkpoint(ParallelContext.serial(threads=1), path).layers for path in (one, other)]
    for layers in zip(*found, strict=True):
        arrays, others = (layer.arrays() for layer in layers)
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, others[name], err_msg=name)


def check_files(folder: Path, path: Path) -> None:
    """On one process: storage, planning, evaluation, prediction and export."""
    alone, data = ParallelContext.serial(threads=1), folder / "data.h5"
    verify_container(path)
    state, info = read_checkpoint(alone, path), read_info(data)
    assert [layer.kind for layer in state.layers] == ["sparse", "gained", "sparse", "sparse"]
    assert state.layers[0].connections[INPUT].structure.keys() == {"keys"}
    gain = state.layers[1].parameters["gain"]
    assert state.layers[1].states["gain_velocity"].any()
    assert (np.abs(gain - 1.25) > 1e-6).any()

    size = NetworkSize.expected(load_config(folder / "run.toml").network, info.n_features, info.n_classes)
    items = {item.name: item.n_bytes for item in plan_memory(load_config(folder / "run.toml"), size, info, 1).items}
    assert items["keys"] == 8 * size.layers[0].n_connections
    assert size.n_parameters - size.n_connections == 24 + 2 * 17 + 20 + info.n_classes
    stored = read_checkpoint_info(path)
    assert stored.n_parameters - stored.n_connections == 24 + 2 * 17 + 20 + info.n_classes

    test = load_samples(data, "test")
    values = test.features.values  # type: ignore[union-attr]
    model = load_model(path)
    found = model.weighted_sums(values)
    np.testing.assert_allclose(found, outputs(state, values), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.weighted_sums(values[:1]), found[:1], rtol=1e-6)
    check_tiles(path, state, values, test.labels)
    accuracy = evaluate_checkpoint(alone, path, data)["test_accuracy"]
    assert accuracy == np.mean(model.predict(values) == test.labels) > 0.8
    check_export(folder, path, values)


def check_tiles(path: Path, state: Any, values: np.ndarray, labels: np.ndarray) -> None:
    """Tiles of any width: the same sums bit for bit, and gradients that are differences of the loss in float64."""
    inputs = ((values - state.mean) / state.deviation).T.astype(np.float32)
    for n in (16, 32, 48, labels.size):
        sums = []
        for width in WIDTHS:
            network = replace(load_model(path).network, tile_width=width)
            batch, workspace = Tiles.of(inputs[:, :n], width), network.make_workspace(n)
            sums.append(network.forward(batch, workspace).matrix()[:, :n].copy())
            gradients = [
                {name: each.values.copy() for name, each in own.parameters().items()} for own in network.layers
            ]
            dropouts = [NO_DROPOUT] * (len(gradients) - 1)
            network.gradient_batch(batch, labels[:n], CrossEntropy(), dropouts, workspace, gradients)
            for layer, own in zip(state.layers, gradients, strict=True):
                check_gradients(layer, own, lambda n=n: exact_loss(state, values[:n], labels[:n]))
        for other in sums[1:]:
            np.testing.assert_array_equal(sums[0], other)


def exact_loss(state: Any, values: np.ndarray, labels: np.ndarray) -> float:
    """In float64."""
    return CrossEntropy().exact_loss(outputs(state, values).T, labels)


def check_gradients(layer: LayerState, gradients: Mapping[str, np.ndarray], loss: Callable[[], float]) -> None:
    """The two largest and the last of each parameter against central differences."""
    for name, gradient in gradients.items():
        values = layer.parameters[name] = layer.parameters[name].astype(np.float64)
        for position in (*np.argsort(-np.abs(gradient))[:2], -1):
            before, losses = values[position], []
            for step in (1e-5, -1e-5):
                values[position] = before + step
                losses.append(loss())
            values[position] = before
            difference = (losses[0] - losses[1]) / 2e-5
            np.testing.assert_allclose(gradient[position], difference, atol=1e-5 * np.abs(gradient).max(), rtol=0)


def check_export(folder: Path, path: Path, values: np.ndarray) -> None:
    """As an archive and back: the same weighted sums. Programs that know one kind of layers get one message."""
    archive, back = path.with_suffix(".npz"), path.with_name("back.h5")
    export_model(path, archive)
    import_model(archive, back)
    model = load_model(path)
    np.testing.assert_allclose(load_model(back).weighted_sums(values), model.weighted_sums(values), rtol=1e-5)
    with pytest.raises(HpcSparseError, match='layer 1 is of the kind "gained": expected "sparse" in all layers'):
        sparse_layers(model.network)


def outputs(state: Any, values: np.ndarray) -> np.ndarray:
    """What the network gives, in float64 and by dense matrices."""
    values = (values.astype(np.float64) - state.mean) / state.deviation
    rules = (
        lambda sums, _: np.where(sums >= 0, sums, -0.6 * sums),
        lambda sums, layer: layer.parameters["gain"] * np.tanh(sums),
        lambda sums, _: np.maximum(sums, 0),
        lambda sums, _: sums,
    )
    for layer, rule in zip(state.layers, rules, strict=True):
        connections = connections_from_state(layer.connections[INPUT], layer.parameters["weight"])
        values = rule(values @ connections.to_csr().toarray().T + layer.parameters["bias"], layer)
    return values


@pytest.mark.mpi(ranks=[2])
@pytest.mark.usefixtures("narrow_tiles")
def test_kinds_of_their_own_go_all_the_way(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    for parallel in ((), ("parallel.replica_topology=independent",), ("parallel.algorithm=wassp",)):
        name = "-".join(("run", *parallel)).replace("=", "-")
        whole = run(ctx, folder, f"{name}-whole", *parallel)
        run(ctx, folder, f"{name}-parts", "training.epochs=1", *parallel)
        parts = run(ctx, folder, f"{name}-parts", *parallel)
        if not any("wassp" in option for option in parallel):  # which ends with its own phase in the last epoch
            on_root(ctx, lambda whole=whole, parts=parts: check_same(whole, parts))
        on_root(ctx, lambda whole=whole: check_files(folder, whole))
    for strategy in ("rigl", "gse", "snfs", "deep_r", "cht"):
        run(ctx, folder, strategy, f"evolution.strategy={strategy}", "training.epochs=2")
    barrier(ctx)
    message = same_error_everywhere(ConfigError, lambda: run(ctx, folder, "refused", "training.activations=bfloat16"))
    assert 'network.layers.1: kind = "gained": not with training.activations = "bfloat16"' in message
