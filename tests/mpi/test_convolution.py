"""Convolutional layers in whole runs: they train, sync, evolve, are served, stored, resumed, planned and predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.analysis.checkpoints import read_topologies
from hpc_sparse.config import load_config
from hpc_sparse.errors import ConfigError, DataError, HpcSparseError, InputError
from hpc_sparse.inference import load_model
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.models.pruning import PruningRequest, prune_checkpoint
from hpc_sparse.models.shifts import measure_shifts
from hpc_sparse.monitor.reporter import SilentReporter
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
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset
from hpc_sparse.storage.verification import verify_container

ROWS, COLUMNS, COLOURS = 8, 12, 4
EVOLVES = ("training.epochs=2", "checkpoint.every_epochs=1", "evolution.drop_schedule=constant")
"""Two epochs between which connections change by every strategy."""

CONFIG = f"""
[data]
path = "data.h5"
[network]
density = 0.6
dropout = 0.1
activation = "relu"
initializer = "he_fan_in"
[[network.layers]]
n = 5
[[network.layers]]
kind = "convolution"
n = 9
image = [{ROWS}, {COLUMNS}]
sampling = "polyphase_blur"
[[network.layers]]
kind = "convolution"
n = 11
activation = "all_relu"
kernel = 2
sampling = "polyphase"
pool = "average"
[[network.layers]]
n = 20
density = 0.8
[training]
epochs = 3
batch_size = 20
[checkpoint]
keep_last = 3
[optimizer]
learning_rate = 0.1
clip_norm = 2.0
[evolution]
growth_samples = 20
growth_pool = 40
[runtime]
threads = 1
oversubscribe = true
"""


def small_images(n: int, seed: int) -> Samples:
    """White lines, down or to the right or oblique, somewhere in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n).astype(np.int32)
    images = rng.integers(0, 60, (n, ROWS, COLUMNS, COLOURS)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        for step in range(4):
            down, right = ((step, 0), (0, step), (step, step))[label]
            image[down, right] = 255
        image[:] = np.roll(image, rng.integers(0, 12, 2), (0, 1))
    return Samples(DenseFeatures(images.reshape(n, -1)), labels)


@pytest.fixture
def folder(ctx: ParallelContext, mpi_tmp_path: Path) -> Path:
    """With a configuration and images."""

    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        parts = small_images(331, 2), small_images(97, 3)
        write_dataset(mpi_tmp_path / "data.h5", *parts, title="lines", class_names=["down", "right", "oblique"])

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


def exact_outputs(path: Path, images: np.ndarray) -> np.ndarray:
    """What the network gives, in float64, of images whose colours are standardised over all pixels."""
    model = load_model(path)
    values = images.reshape(len(images), ROWS * COLUMNS, COLOURS).astype(np.float64)
    training = load_samples(path.parents[2] / "data.h5", "train").features.values.reshape(-1, COLOURS)
    out = ((values - training.mean(axis=0)) / training.std(axis=0)).transpose(1, 2, 0)
    for layer in model.network.layers:
        parameters = {name: each.values.astype(np.float64) for name, each in layer.parameters().items()}
        out, _ = layer.exact(out, parameters, None)
    return out[0].T


def check_files(folder: Path, path: Path) -> None:
    """On one process: storage, planning, evaluation, prediction, shifts and archives."""
    alone, data = ParallelContext.serial(threads=1), folder / "data.h5"
    verify_container(path)
    config, info, stored = load_config(folder / "run.toml"), read_info(data), read_checkpoint_info(path)
    size = NetworkSize.of_run(config, info, info.n_classes)
    assert size.n_parameters - size.n_connections == stored.n_parameters - stored.n_connections
    assert abs(size.n_connections - stored.n_connections) < 5 * np.sqrt(size.n_connections)
    assert [(layer.places, layer.places_out) for layer in size.layers] == [(96, 96), (96, 24), (24, 1), (1, 1), (1, 1)]

    test, model = load_samples(data, "test"), load_model(path)
    values = test.features.values  # type: ignore[union-attr]
    memory = {item.name: item.n_bytes for item in plan_memory(config, size, info, 1).items}
    workspace = model.network.make_workspace(config.training.batch_size)
    planned = memory["activations and deltas"] + memory["records of activations"]
    assert abs(planned - workspace.n_bytes) < 0.01 * planned
    found = model.weighted_sums(values)
    np.testing.assert_allclose(found, exact_outputs(path, values), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(model.weighted_sums(values[:1]), found[:1])
    np.testing.assert_array_equal(model.weighted_sums(values.reshape(len(values), ROWS, COLUMNS, COLOURS)), found)
    with pytest.raises(InputError, match='layer 1 is of the kind "convolution": expected layers with one map'):
        prune_checkpoint(alone, PruningRequest(path, percentile=20))
    with pytest.raises(InputError, match='layer 1 is of the kind "convolution", with connections input'):
        read_topologies(path)
    accuracy = evaluate_checkpoint(alone, path, data)["test_accuracy"]
    assert accuracy == np.mean(model.predict(values) == test.labels) > 0.5
    circular, cropped = measure_shifts(alone, path, data, 13, 4)["kinds"]
    assert (circular["consistency"], circular["same_bits"]) == (1.0, 1.0)
    assert cropped["consistency"] < 1.0
    archive, back = path.with_suffix(".npz"), path.with_name("back.h5")
    export_model(path, archive)
    import_model(archive, back)
    np.testing.assert_array_equal(load_model(back).weighted_sums(values), found)


@pytest.mark.mpi(ranks=[1, 2, 3])
@pytest.mark.usefixtures("narrow_tiles")
def test_convolutions_go_all_the_way(ctx: ParallelContext, folder: Path) -> None:
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
def test_every_strategy_evolves_taps(ctx: ParallelContext, folder: Path) -> None:
    alone = ParallelContext.serial(threads=1)
    for strategy in ("set", "rigl", "gse", "snfs", "deep_r", "srigl"):
        run(ctx, folder, strategy, f"evolution.strategy={strategy}", *EVOLVES)
        first, last = (checkpoint_path(folder / strategy / "checkpoints", epoch) for epoch in (1, 2))
        before, after = on_root(ctx, lambda: [read_checkpoint(alone, path).layers for path in (first, last)])  # noqa: B023
        for number in (1, 2):
            own, other = (layers[number].connections["input"].structure for layers in (before, after))
            assert not all(np.array_equal(own[key], other[key]) for key in own), (strategy, number)


@pytest.mark.mpi(ranks=[2])
def test_what_convolutions_cannot_is_one_message(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    layers = 'network.layers=[{{kind="convolution", n=5, image=[8, 12], {0}}}]'
    for override, said in (
        ("training.activations=bfloat16", 'network.layers.1: kind = "convolution": not with training.activations'),
        ("importance_pruning.mode=compact", 'kind = "convolution": not with importance_pruning.mode'),
        ("evolution.strategy=cht", 'evolution.strategy = "cht": not with'),
        ("network.initial_topology=snip", 'kind = "convolution": not with network.initial_topology = "snip"'),
        (layers.format('pool="average", sampling="max"'), "network.layers.0.sampling = 'max'"),
        (layers.format('pool="average", dropout=0.2'), 'dropout = 0.2: kind = "convolution" has none'),
        (layers.format('pool="none"'), "images reach the output layer"),
        (layers.format('pool="average", kernel=9'), "network.layers.0.kernel = 9: larger than the image, which has 8"),
        (layers.format('pool="average", kernel=0'), "network.layers.0.kernel = 0"),
        (layers.format('pool="average", connections="block"'), "taps are single connections"),
        (
            'network.layers=[{kind="convolution", n=5, image=[3, 32], sampling="stride", pool="average"}]',
            'network.layers.0.sampling = "stride": needs even sides, but the image has 3 x 32 here',
        ),
        (
            'network.layers=[{kind="convolution", n=5, pool="average"}, {kind="convolution", n=5, pool="average"}]',
            "the layers below give no images",
        ),
    ):
        message = same_error_everywhere(ConfigError, lambda override=override: run(ctx, folder, "refused", override))
        assert said in message, message
    for shape, said in (("image=[7, 7], ", "samples of 384 features are no such images"), ("", "no square images")):
        wrong = 'network.layers=[{kind="convolution", n=5, ' + shape + 'pool="average"}]'
        message = same_error_everywhere(DataError, lambda wrong=wrong: run(ctx, folder, "refused", wrong))
        assert said in message, message
