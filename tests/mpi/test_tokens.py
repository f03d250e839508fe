"""Texts in whole runs: they train, sync, evolve, are served, stored, resumed within an epoch, evaluated and go on."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.config import load_config
from hpc_sparse.errors import ConfigError, DataError, HpcSparseError
from hpc_sparse.importers.text.tokens import TextOptions, import_text
from hpc_sparse.inference import load_model
from hpc_sparse.inference.generation import generate
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.monitor.stopping import StopRequest
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.runs.folder import RunFolder
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.dataset.file import load_samples, read_info

TEXT = "In the beginning there was a word, and the word was sparse.\n" * 40
CONFIG = """
[data]
path = "text.h5"
validation_fraction = 0.1
[network]
density = 0.4
initializer = "he_fan_in"
[[network.layers]]
kind = "recurrent"
n = 16
output = "all"
[[network.layers]]
n = 9
[training]
epochs = 3
batch_size = 10
[optimizer]
learning_rate = 0.5
clip_norm = 2.0
[evolution]
growth_samples = 20
growth_pool = 40
[runtime]
threads = 1
oversubscribe = true
stop_within = 0.000001
"""


class Stopping(SilentReporter):
    """Asks the run to stop after a step."""

    def __init__(self, request: StopRequest, step: int) -> None:
        self._request, self._step = request, step

    def step(self, n_done: int) -> None:
        if n_done == self._step:
            self._request.receive(signal.SIGTERM)


@pytest.fixture
def folder(ctx: ParallelContext, mpi_tmp_path: Path) -> Path:
    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        (mpi_tmp_path / "text.txt").write_text(TEXT)
        import_text(mpi_tmp_path / "text.txt", mpi_tmp_path / "text.h5", options=TextOptions(steps=7))

    on_root(ctx, write)
    return mpi_tmp_path


def run(ctx: ParallelContext, folder: Path, name: str, *overrides: str, is_debug: bool = False) -> Path:
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume="auto", is_debug=is_debug)
    train_run(ctx, request, SilentReporter())
    return newest(ctx, folder / name)


def newest(ctx: ParallelContext, folder: Path) -> Path:
    found = on_root(ctx, lambda: newest_checkpoint(folder / "checkpoints"))
    assert found is not None
    return found


def check_same(one: Path, other: Path) -> None:
    found = [read_checkpoint(ParallelContext.serial(threads=1), path).layers for path in (one, other)]
    for layers in zip(*found, strict=True):
        arrays, others = (layer.arrays() for layer in layers)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, others[name], err_msg=name)


def check_files(folder: Path, path: Path) -> None:
    """On one process: planning, results, evaluation, prediction, a text that goes on."""
    alone, data = ParallelContext.serial(threads=1), folder / "text.h5"
    config, info, stored = load_config(folder / "run.toml"), read_info(data), read_checkpoint_info(path)
    size = NetworkSize.of_run(config, info, info.n_classes)
    assert size.n_parameters - size.n_connections == stored.n_parameters - stored.n_connections
    assert plan_memory(config, size, info, 1).items
    last = RunFolder(path.parent.parent).history(3)[-1]
    assert last.test_bits_per_token == pytest.approx(last.test_loss / math.log(2))
    assert last.validation_perplexity == pytest.approx(math.exp(last.validation_loss or 0.0))
    found, model, test = evaluate_checkpoint(alone, path, data), load_model(path), load_samples(data, "test")
    assert found["test_bits_per_token"] == pytest.approx(last.test_bits_per_token, rel=0.05)
    assert last.test_bits_per_token < 0.9 * math.log2(info.n_tokens)
    predicted = model.predict(test.features.values)  # type: ignore[union-attr]
    assert predicted.shape == test.labels.shape
    # From windows alone: the states of an evaluation go on from window to window.
    assert np.mean(predicted == test.labels) == pytest.approx(found["test_accuracy"], abs=0.1)
    written = model.generate("In the", length=30, seed=3)
    assert written.startswith("In the")
    assert (len(written), written) == (36, model.generate("In the", length=30, seed=3))
    export_model(path, folder / "network.npz")
    import_model(folder / "network.npz", folder / "back.h5")
    assert load_model(folder / "back.h5").generate("In the", length=30, seed=3) == written
    other = TEXT.replace("a", "A")
    (folder / "other.txt").write_text(other)
    import_text(folder / "other.txt", folder / "other.h5", options=TextOptions(steps=7))
    with pytest.raises(DataError, match=r"other.h5: vocabulary\[\d+\] = 'A': expected 'a', as in the training"):
        evaluate_checkpoint(alone, path, folder / "other.h5")
    with pytest.raises(DataError, match="does not predict tokens one after the other"):
        generate(model.network, None, "In", length=1, temperature=1, seed=0)
    with pytest.raises(DataError, match="character 1 of the text to begin with, 'Q': not in the vocabulary of"):
        model.generate("IQ")


@pytest.mark.mpi(ranks=[1, 2, 3])
@pytest.mark.usefixtures("narrow_tiles")
def test_texts_go_all_the_way(ctx: ParallelContext, folder: Path) -> None:
    whole = run(ctx, folder, "whole", is_debug=True)
    request = StopRequest()
    stopped = RunRequest(folder / "run.toml", (), folder / "parts", resume="auto")
    with pytest.raises(HpcSparseError, match=r"after 0 epochs and \d steps"):
        train_run(ctx, stopped, Stopping(request, 3), request)
    assert "0000" in newest(ctx, folder / "parts").name
    parts = run(ctx, folder, "parts")
    on_root(ctx, lambda: check_same(whole, parts))
    on_root(ctx, lambda: check_files(folder, whole))
    if ctx.size == 2:
        run(ctx, folder, "served", "parallel.algorithm=wassp")
        for strategy in ("gse", "rigl"):
            run(ctx, folder, strategy, f"evolution.strategy={strategy}", "training.epochs=2")
        for name, stored in (("blocks", "block=[4, 4]"), ("groups", "pattern='2:4'")):
            kind = {"blocks": "block", "groups": "n_of_m"}[name]
            layers = f"network.layers=[{{kind='recurrent', n=16, output='all', connections='{kind}', {stored}}}]"
            run(ctx, folder, name, layers, "training.epochs=2", is_debug=True)
    barrier(ctx)


@pytest.mark.mpi(ranks=[2])
def test_data_that_do_not_fit_are_one_message(
    ctx: ParallelContext,
    folder: Path,
    write_small_data: Callable[..., Path],
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    on_root(ctx, lambda: write_small_data(folder / "sequences.h5", time_steps=5))
    layer = "kind='recurrent', n=5"
    for overrides, said in (
        (
            ("network.layers=[{n=5}]",),
            "text.h5: holds tokens: expected numbers, for a first layer that reads no tokens",
        ),
        ((f"network.layers=[{{{layer}}}]",), "text.h5: has a label for each step: expected one for each sample"),
        (("data.path=sequences.h5",), "sequences.h5: has one label for each sample: expected one for each step"),
    ):
        message = same_error_everywhere(DataError, lambda: run(ctx, folder, "refused", *overrides))  # noqa: B023
        assert said in message, message
    message = same_error_everywhere(ConfigError, lambda: run(ctx, folder, "refused", "training.loss=mse"))
    assert 'training.loss = "mse": not with outputs of each step' in message
