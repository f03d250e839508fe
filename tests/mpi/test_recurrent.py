"""Recurrent layers in whole runs: they train, sync, evolve, are served, stored, resumed, planned and predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recurrent_reference import Reference

from hpc_sparse.analysis.checkpoints import read_topologies
from hpc_sparse.config import load_config
from hpc_sparse.errors import ConfigError, DataError, HpcSparseError, InputError
from hpc_sparse.inference import load_model
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.models.pruning import PruningRequest, prune_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.connections.registry import connections_from_state
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import checkpoint_path, newest_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.dataset.file import load_samples, read_info
from hpc_sparse.storage.verification import verify_container

TIME_STEPS = 5
CONFIG = """
[data]
path = "data.h5"
[network]
epsilon = 4
dropout = 0.1
initializer = "he_fan_in"
[[network.layers]]
n = 9
[[network.layers]]
kind = "recurrent"
cell = "tanh"
n = 17
output = "all"
[[network.layers]]
kind = "recurrent"
n = 13
recurrent_density = 0.5
[[network.layers]]
n = 20
[training]
epochs = 3
batch_size = 20
[checkpoint]
keep_last = 3
[optimizer]
learning_rate = 0.1
clip_norm = 2.0
warmup_epochs = 0
[evolution]
drop_schedule = "constant"
growth_samples = 20
growth_pool = 40
[runtime]
threads = 1
oversubscribe = true
"""


@pytest.fixture
def folder(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Path:
    """With a configuration and sequences of five steps."""

    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        write_small_data(mpi_tmp_path / "data.h5", time_steps=TIME_STEPS)
        write_small_data(mpi_tmp_path / "flat.h5")

    on_root(ctx, write)
    return mpi_tmp_path


def run(ctx: ParallelContext, folder: Path, name: str, *overrides: str, is_debug: bool = False) -> Path:
    """Train, or go on, and give the newest checkpoint."""
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume="auto", is_debug=is_debug)
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


def outputs(path: Path, values: np.ndarray) -> np.ndarray:
    """What the network gives, in float64 and by dense matrices."""
    state = read_checkpoint(ParallelContext.serial(threads=1), path)
    values = (values.astype(np.float64) - state.mean) / state.deviation
    sequence = values.reshape(len(values), TIME_STEPS, -1).transpose(1, 2, 0)
    for number, layer in enumerate(state.layers):
        names = {"input": "weight", "recurrent": "recurrent_weight"}
        maps = [
            connections_from_state(each, layer.parameters[names[name]]).to_csr().toarray().astype(np.float64)
            for name, each in layer.connections.items()
        ]
        if layer.kind == "recurrent":
            biases = layer.parameters["bias"], layer.parameters["recurrent_bias"]
            cell = str(layer.settings["cell"])
            states = Reference(cell, maps[0], biases[0], maps[1], biases[1]).forward(sequence)
            sequence = states if layer.settings["output"] == "all" else states[-1:]
            continue
        sums = np.array([maps[0] @ own + layer.parameters["bias"][:, None] for own in sequence])
        slope = 1.0 if number == len(state.layers) - 1 else 0.6 * (-1) ** (number + 1)
        sequence = np.where(sums >= 0, sums, slope * sums)
    return sequence[0].T


def check_files(folder: Path, path: Path) -> None:
    """On one process: storage, planning, evaluation, prediction and archives."""
    alone, data = ParallelContext.serial(threads=1), folder / "data.h5"
    verify_container(path)
    config, info, stored = load_config(folder / "run.toml"), read_info(data), read_checkpoint_info(path)
    assert info.time_steps == TIME_STEPS
    size = NetworkSize.of_run(config, info, info.n_classes)
    assert size.n_parameters - size.n_connections == stored.n_parameters - stored.n_connections
    assert abs(size.n_connections - stored.n_connections) < 5 * np.sqrt(size.n_connections)
    assert [layer.places_out for layer in size.layers] == [5, 5, 1, 1, 1]

    test, model = load_samples(data, "test"), load_model(path)
    values = test.features.values  # type: ignore[union-attr]
    memory = {item.name: item.n_bytes for item in plan_memory(config, size, info, 1).items}
    workspace = model.network.make_workspace(config.training.batch_size)
    planned = memory["activations and deltas"] + memory["records of activations"]
    assert abs(planned - workspace.n_bytes) < 0.01 * planned
    found = model.weighted_sums(values)
    np.testing.assert_allclose(found, outputs(path, values), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(model.weighted_sums(values[:1]), found[:1])
    np.testing.assert_array_equal(model.weighted_sums(values.reshape(len(values), TIME_STEPS, -1)), found)
    with pytest.raises(InputError, match='layer 1 is of the kind "recurrent": expected layers with one map'):
        prune_checkpoint(alone, PruningRequest(path, percentile=20))
    with pytest.raises(InputError, match='layer 1 is of the kind "recurrent", with connections input and recurrent'):
        read_topologies(path)
    accuracy = evaluate_checkpoint(alone, path, data)["test_accuracy"]
    assert accuracy == np.mean(model.predict(values) == test.labels) > 0.7
    archive, back = path.with_suffix(".npz"), path.with_name("back.h5")
    export_model(path, archive)
    import_model(archive, back)
    np.testing.assert_allclose(load_model(back).weighted_sums(values), found, rtol=1e-5, atol=1e-6)


@pytest.mark.mpi(ranks=[1, 2, 3])
@pytest.mark.usefixtures("narrow_tiles")
def test_recurrent_layers_go_all_the_way(ctx: ParallelContext, folder: Path) -> None:
    parallel = [(), ("parallel.replica_topology=independent",), ("parallel.algorithm=wassp",)]
    for overrides in parallel if ctx.size == 2 else parallel[:1]:
        name = "-".join(("run", *overrides)).replace("=", "-")
        whole = run(ctx, folder, f"{name}-whole", *overrides, is_debug=True)
        run(ctx, folder, f"{name}-parts", "training.epochs=1", *overrides)
        parts = run(ctx, folder, f"{name}-parts", *overrides)
        if not any("wassp" in option for option in overrides):  # which ends with its own phase in the last epoch
            on_root(ctx, lambda whole=whole, parts=parts: check_same(whole, parts))
        on_root(ctx, lambda whole=whole: check_files(folder, whole))
    barrier(ctx)


@pytest.mark.mpi(ranks=[2])
@pytest.mark.usefixtures("narrow_tiles")
def test_every_strategy_evolves_both_maps(ctx: ParallelContext, folder: Path) -> None:
    alone = ParallelContext.serial(threads=1)
    for strategy in ("set", "rigl", "gse", "snfs", "deep_r", "srigl"):
        run(ctx, folder, strategy, f"evolution.strategy={strategy}", "training.epochs=2", "checkpoint.every_epochs=1")
        first, last = (checkpoint_path(folder / strategy / "checkpoints", epoch) for epoch in (1, 2))
        before, after = on_root(ctx, lambda: [read_checkpoint(alone, path).layers for path in (first, last)])  # noqa: B023
        for number in (1, 2):
            for name, own in before[number].connections.items():
                other = after[number].connections[name]
                is_same = all(np.array_equal(own.structure[key], other.structure[key]) for key in own.structure)
                assert not is_same, (strategy, number, name)


@pytest.mark.mpi(ranks=[2])
@pytest.mark.usefixtures("narrow_tiles")
def test_blocks_and_groups_go_all_the_way(ctx: ParallelContext, folder: Path) -> None:
    layers = '[{{kind="recurrent", n=16, output="all", {0}}}, {{kind="recurrent", n=12, {0}}}]'
    for name, stored in (
        ("blocks", "connections='block', block=[4, 4]"),
        ("groups", "connections='n_of_m', pattern='2:4'"),
    ):
        overrides = ("network.layers=" + layers.format(stored),)
        whole = run(ctx, folder, f"{name}-whole", *overrides, is_debug=True)
        run(ctx, folder, f"{name}-parts", "training.epochs=1", *overrides)
        parts = run(ctx, folder, f"{name}-parts", *overrides)
        on_root(ctx, lambda whole=whole, parts=parts: check_same(whole, parts))
        found = on_root(ctx, lambda whole=whole: read_checkpoint_info(whole).layers[0].connections)
        assert {each.kind for each in found.values()} == {"block" if name == "blocks" else "n_of_m"}
    barrier(ctx)


@pytest.mark.mpi(ranks=[2])
def test_what_recurrent_layers_cannot_is_one_message(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    for override, said in (
        ("training.activations=bfloat16", 'network.layers.1: kind = "recurrent": not with training.activations'),
        ("importance_pruning.mode=compact", 'kind = "recurrent": not with importance_pruning.mode'),
        ("evolution.strategy=cht", 'evolution.strategy = "cht": not with layers that read sequences'),
        ("network.initial_topology=snip", 'kind = "recurrent": not with network.initial_topology = "snip"'),
        ('network.layers=[{kind="recurrent", n=5, cell="lstm"}]', "network.layers.0.cell = 'lstm'"),
        ('network.layers=[{kind="recurrent", n=5, dropout=0.2}]', 'dropout = 0.2: kind = "recurrent" has none'),
        ('network.layers=[{kind="recurrent", n=5}, {kind="recurrent", n=5}]', "the layers below give no sequences"),
        ('network.layers=[{kind="recurrent", n=5, recurrent_connections="x"}]', "recurrent_connections = 'x'"),
        ('network.layers=[{kind="recurrent", n=6, connections="block", block=[4, 4]}]', "must divide n = 6"),
        ('network.layers=[{kind="recurrent", n=6, recurrent_connections="block"}]', "must be that of connections"),
        ('network.layers=[{kind="recurrent", n=6, connections="n_of_m", pattern="2:8"}]', "groups of 8 inputs"),
    ):
        message = same_error_everywhere(ConfigError, lambda override=override: run(ctx, folder, "refused", override))
        assert said in message, message
    layers = 'network.layers=[{kind="recurrent", n=5, output="all"}]'
    message = same_error_everywhere(DataError, lambda: run(ctx, folder, "refused", layers))
    assert "has one label for each sample: expected one for each step" in message
    message = same_error_everywhere(DataError, lambda: run(ctx, folder, "refused", "data.path=flat.h5"))
    assert "flat.h5: time_steps = 1: expected sequences" in message
