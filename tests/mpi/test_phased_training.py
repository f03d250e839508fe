"""WASAP-SGD and WASSP-SGD on several ranks, with the checks of the debug mode on."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpc_sparse.config import load_config
from hpc_sparse.errors import DataError, DivergedError, HpcSparseError, OutputError, RankError
from hpc_sparse.parallel.collectives import barrier, gather_objects, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.partition import Share
from hpc_sparse.storage.checkpoint import checkpoint_path, read_checkpoint_info, read_replicas
from hpc_sparse.storage.dataset import Dataset, DenseFeatures, load_dataset
from hpc_sparse.training.batches import shuffled_batches
from hpc_sparse.training.merged_checkpoint import read_merged
from hpc_sparse.training.progress import SilentReporter
from hpc_sparse.training.replica import Replica
from hpc_sparse.training.run import train
from hpc_sparse.training.run_plan import RunRequest
from hpc_sparse.training.stored_network import StoredNetwork

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
dropout = 0.1
[training]
epochs = 4
batch_size = 16
[optimizer]
learning_rate = 0.02
[parallel]
strategy = "wasap"
phase2_share = 0
[checkpoint]
every_epochs = 9
keep_last = 9
[runtime]
threads = 1
oversubscribe = true
"""
N_TRAIN, N_TEST = 331, 97
TIMES = ("train_seconds", "evolve_seconds", "sync_seconds", "evaluate_seconds", "wait_share", "rank_seconds")
LAYER_ARRAYS = ("indptr", "indices", "weight", "bias", "weight_velocity", "bias_velocity")


class Runs:
    """Trains in folders ``run-1``, ``run-2`` and so on, the same on all ranks."""

    def __init__(self, ctx: ParallelContext, folder: Path, write_data: Callable[..., Path]) -> None:
        self._ctx, self._write_data, self.folder = ctx, write_data, folder
        self._n_runs = 0
        on_root(ctx, lambda: (folder / "run.toml").write_text(CONFIG))
        self.data()

    def data(self, **options: Any) -> None:
        """Replace the data set."""

        def write() -> None:
            (self.folder / "data.h5").unlink(missing_ok=True)
            self._write_data(self.folder / "data.h5", **{"n_train": N_TRAIN, "n_test": N_TEST, **options})

        on_root(self._ctx, write)

    def __call__(
        self,
        *overrides: str,
        context: ParallelContext | None = None,
        resume: Path | None = None,
        reporter: Any = None,
        name: str | None = None,
    ) -> tuple[list[dict[str, Any]], Path]:
        """The metrics without times, and the folder of the run."""
        self._n_runs += 1
        output = self.folder / (name or f"run-{self._n_runs}")
        context = context or self._ctx
        request = RunRequest(
            self.folder / "run.toml", overrides, output, None if resume is None else str(resume), is_debug=True
        )
        train(context, request, reporter or SilentReporter())
        barrier(context)
        return metrics_of(output), output


@pytest.fixture
def run(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Runs:
    return Runs(ctx, mpi_tmp_path, write_small_data)


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def stored(folder: Path, epoch: int) -> Path:
    return checkpoint_path(folder / "checkpoints", epoch)


def state_bytes(path: Path) -> list[bytes]:
    """Every array of every network in a checkpoint."""
    return [
        getattr(layer, name).tobytes()
        for checkpoint in read_replicas(path)
        for layer in checkpoint.layers
        for name in LAYER_ARRAYS
    ]


def layer_sizes(path: Path) -> list[int]:
    return [layer.indices.size for layer in read_replicas(path)[0].layers]


def same_error_everywhere(ctx: ParallelContext, error: type[HpcSparseError], action: Callable[[], Any]) -> str:
    """Run ``action``, which must fail with the same error on all ranks; its message."""
    message = "no error"
    try:
        action()
    except error as caught:
        message = f"{type(caught).__name__}: {caught}"
    messages = gather_objects(ctx, message)
    assert len(set(messages)) == 1, messages
    assert message.startswith(error.__name__), message
    return message


# An update of WASSP-SGD, in dense float64 arithmetic


class DenseOracle:
    """A network of dense matrices whose masked-out entries stay 0, trained by SGD with momentum without dropout."""

    def __init__(self, replica: Replica) -> None:
        layers = replica.network.layers
        self.slopes = [layer.slope for layer in layers]
        self.masks, self.weights = [], []
        for layer in layers:
            mask, weight = np.zeros(layer.topology.shape), np.zeros(layer.topology.shape)
            mask.reshape(-1)[layer.topology.keys()] = 1
            weight.reshape(-1)[layer.topology.keys()] = layer.weight
            self.masks.append(mask)
            self.weights.append(weight)
        self.biases = [layer.bias.astype(np.float64) for layer in layers]
        self.velocities = [np.zeros_like(array) for array in (*self.weights, *self.biases)]

    def gradients(self, batch: Any, labels: Any) -> list[Any]:
        """Summed over the samples (columns of ``batch``): of all weights, then of all biases."""
        sources, sums = [batch], []
        for weight, bias, slope in zip(self.weights, self.biases, self.slopes, strict=True):
            sums.append(weight @ sources[-1] + bias[:, None])
            sources.append(np.where(sums[-1] < 0, slope * sums[-1], sums[-1]))
        shifted = np.exp(sums[-1] - sums[-1].max(axis=0))
        delta = shifted / shifted.sum(axis=0)
        delta[labels, np.arange(labels.size)] -= 1
        of_weights: list[Any] = []
        of_biases: list[Any] = []
        for number in reversed(range(len(self.weights))):
            of_weights.insert(0, (delta @ sources[number].T) * self.masks[number])
            of_biases.insert(0, delta.sum(axis=1))
            if number:
                slope = np.where(sums[number - 1] < 0, self.slopes[number - 1], 1.0)
                delta = (self.weights[number].T @ delta) * slope
        return [*of_weights, *of_biases]

    def update(self, gradients: list[Any], rate: float, momentum: float) -> None:
        parameters = (*self.weights, *self.biases)
        self.velocities = [
            momentum * velocity - rate * gradient for velocity, gradient in zip(self.velocities, gradients, strict=True)
        ]
        for values, velocity in zip(parameters, self.velocities, strict=True):
            np.add(values, velocity, out=values)


def standardised(dataset: Dataset, chosen: Any) -> Any:
    features = dataset.train.features
    assert isinstance(features, DenseFeatures)
    values = features.values[chosen].astype(np.float64)
    return ((values - dataset.mean) / dataset.deviation).T


@pytest.mark.mpi(ranks=[3])
def test_wassp_applies_the_mean_gradient_over_all_samples_of_the_workers_batches(run: Runs) -> None:
    # Shards of 166 and 165 samples: last batches of 6 and 5, which a plain mean of the two means would weigh wrongly.
    overrides = ("parallel.strategy=wassp", "network.dropout=0", "evolution.strategy=static", "training.epochs=2")
    metrics, folder = run(*overrides)
    config, alone = load_config(run.folder / "run.toml", overrides), ParallelContext.serial(threads=1)
    shards = [load_dataset(alone, run.folder / "data.h5", train=Share(worker, 2)) for worker in (0, 1)]
    oracle = DenseOracle(Replica.initial(config, shards[0].info))
    n_steps = N_TRAIN // (16 * 2)
    assert metrics[0]["learning_rate"] == 0.04
    for update in range(2 * n_steps):
        total, n_samples = [np.zeros_like(array) for array in oracle.velocities], 0
        for worker, shard in enumerate(shards):
            number, step = divmod(update, -(-shard.train.n_samples // 16))
            chosen = shuffled_batches(shard.train.n_samples, 16, config.training.seed, number + 1, worker + 1)[step]
            gradients = oracle.gradients(standardised(shard, chosen), shard.train.labels[chosen])
            total = [so_far + gradient for so_far, gradient in zip(total, gradients, strict=True)]
            n_samples += chosen.size
        oracle.update([gradient / n_samples for gradient in total], 0.04, 0.9)
    layers = read_replicas(stored(folder, 2))[0].layers
    for number, layer in enumerate(layers):
        expected = oracle.weights[number][oracle.masks[number] == 1]
        np.testing.assert_allclose(layer.weight, expected, rtol=1e-4, atol=2e-6)
        np.testing.assert_allclose(layer.bias, oracle.biases[number], rtol=1e-4, atol=2e-6)
        velocity = oracle.velocities[number][oracle.masks[number] == 1]
        np.testing.assert_allclose(layer.weight_velocity, velocity, rtol=1e-3, atol=2e-6)


# What every run keeps to


@pytest.mark.mpi(ranks=[4])
def test_an_epoch_of_wasap_is_as_many_updates_as_one_of_sequential_training(ctx: ParallelContext, run: Runs) -> None:
    n_updates = N_TRAIN // 16
    for options in (
        ("evolution.drop_fraction=0.5",),
        ("parallel.overlap=true", "checkpoint.every_epochs=1"),
        ("parallel.max_staleness=1", "parallel.staleness_aware=true"),
        ("parallel.max_staleness=1", "parallel.overlap=true", "training.batch_size=200"),
    ):
        metrics, folder = run(*options)
        of_one = N_TRAIN // 200 if "training.batch_size=200" in options else n_updates
        assert [line["epoch"] for line in metrics] == [1, 2, 3, 4]
        assert [sum(line["staleness_counts"]) for line in metrics] == [of_one] * 4
        assert [line["phase"] for line in metrics] == [1] * 4
        assert {line["learning_rate"] for line in metrics} == {0.02}
        assert [line["connections_changed"] > 0 for line in metrics] == [False, True, True, True]
        if "parallel.max_staleness=1" in options:
            assert max(len(line["staleness_counts"]) for line in metrics) <= 2
            assert sum(line["n_discarded"] for line in metrics) > 0
        else:
            assert metrics[-1]["test_accuracy"] > 0.5
            assert not any(line["n_discarded"] for line in metrics)
        assert len(set(gather_objects(ctx, json.dumps(metrics)))) == 1
        assert read_checkpoint_info(stored(folder, 4)).n_replicas == 0


@pytest.mark.mpi(ranks=[2])
def test_with_one_worker_wasap_and_wassp_are_bit_by_bit_the_same(run: Runs) -> None:
    both = ("importance_pruning.mode=compact", "importance_pruning.after_epoch=0", "importance_pruning.every_epochs=2")
    (wasap, first), (wassp, second) = (
        run(f"parallel.strategy={strategy}", *both, "parallel.phase2_share=0.3") for strategy in ("wasap", "wassp")
    )
    assert wasap == wassp
    assert state_bytes(stored(first, 4)) == state_bytes(stored(second, 4))
    assert wasap[0]["staleness_counts"] == [N_TRAIN // 16]


@pytest.mark.mpi(ranks=[3])
def test_networks_shrink_in_phase_1_and_end_phase_2_with_as_many_connections(run: Runs) -> None:
    pruning = ("importance_pruning.after_epoch=0", "importance_pruning.every_epochs=2")
    for number, options in enumerate(
        [
            ("importance_pruning.mode=compact", "importance_pruning.input_percentile=20"),
            ("importance_pruning.mode=released", "parallel.overlap=true"),
            ("importance_pruning.mode=compact", "parallel.strategy=wassp"),
        ]
    ):
        run.data(kind=("sparse", "dense")[number % 2])
        metrics, folder = run(
            *pruning, *options, "training.epochs=8", "parallel.phase2_share=0.35", "checkpoint.every_epochs=1"
        )
        n_connections = [line["n_connections"] for line in metrics]
        shrinks = [after < before for before, after in pairwise(n_connections)]
        assert shrinks == [False, True, False, True, False, False, False]
        assert [line["phase"] for line in metrics] == [1] * 5 + [2] * 3
        targets = layer_sizes(stored(folder, 5))
        assert layer_sizes(stored(folder, 8)) == targets
        assert list(read_replicas(stored(folder, 6))[0].target_connections) == targets
        assert [len(line["parts_test_accuracy"]) for line in metrics] == [0] * 7 + [2]
        of_parts = np.array(metrics[-1]["parts_test_accuracy"]) * N_TEST
        np.testing.assert_allclose(of_parts, of_parts.round(), atol=1e-6)
        assert metrics[-1]["test_accuracy"] > 0.5
        assert [line["connections_changed"] > 0 for line in metrics] == [False] + [True] * 7
        final = read_replicas(stored(folder, 8))[0]
        input_ids = final.neuron_ids[0] if final.neuron_ids else None
        assert (input_ids is not None) == ("importance_pruning.input_percentile=20" in options)


# Stopping and going on


@pytest.mark.mpi(ranks=[4])
def test_a_wassp_run_repeats_and_resumes_bit_by_bit_in_both_phases_and_at_their_border(
    ctx: ParallelContext, run: Runs
) -> None:
    # Three workers: the order in which they are added up matters. Enough weights for reductions to take their long way.
    options = (
        *("parallel.strategy=wassp", "training.epochs=6", "parallel.phase2_share=0.5", "checkpoint.every_epochs=1"),
        *("network.hidden=[70, 60]", "network.epsilon=30", "optimizer.momentum_correction=true"),
        *("optimizer.warmup_epochs=2", "optimizer.warmup_from=unscaled"),
        *("importance_pruning.mode=compact", "importance_pruning.after_epoch=1", "importance_pruning.every_epochs=1"),
    )
    whole, folder = run(*options)
    assert [line["phase"] for line in whole] == [1, 1, 1, 2, 2, 2]
    again, other = run(*options)
    assert again == whole
    assert state_bytes(stored(other, 5)) == state_bytes(stored(folder, 5))
    for n_done in (2, 3, 4):
        resumed, other = run(*options, resume=stored(folder, n_done))
        assert resumed == whole, n_done
        for epoch in range(n_done + 1, 7):
            assert state_bytes(stored(other, epoch)) == state_bytes(stored(folder, epoch)), (n_done, epoch)
    assert [read_checkpoint_info(stored(folder, epoch)).n_replicas for epoch in range(1, 7)] == [0, 0, 0, 3, 3, 0]


@pytest.mark.mpi(ranks=[4])
def test_a_checkpoint_of_phase_2_goes_on_elsewhere_from_the_average_and_is_evaluated_as_that(
    ctx: ParallelContext, run: Runs
) -> None:
    options = ("training.epochs=6", "parallel.phase2_share=0.5", "checkpoint.every_epochs=1")
    _, folder = run(*options)
    targets = layer_sizes(stored(folder, 3))
    of_each = read_replicas(stored(folder, 5))
    keys = [{(layer.indptr.tobytes(), layer.indices.tobytes()) for layer in each.layers[:1]} for each in of_each]
    assert len(set.union(*keys)) == 3
    network = StoredNetwork.read(ctx, stored(folder, 5))
    _, accuracy = network.evaluate(ctx, network.replica.network, network.load_data(ctx, run.folder / "data.h5"))
    _, merged = read_merged(stored(folder, 5), network.config.network)
    assert [layer.topology.n_connections for layer in merged.network.layers] == targets
    assert accuracy > 0.5

    assert ctx.comm is not None
    # One worker, or none: served and sequential training.
    for size in (2, 1):
        part = ctx.comm.Split(ctx.rank < size, ctx.rank)
        smaller = ParallelContext.from_comm(part, threads=1)
        if ctx.rank < size:
            metrics, other = run(*options, context=smaller, resume=stored(folder, 5), name=f"on-{size}")
            assert [line["epoch"] for line in metrics] == [1, 2, 3, 4, 5, 6]
            assert layer_sizes(stored(other, 6)) == targets
            assert metrics[-1]["test_accuracy"] > 0.5
        barrier(ctx)
    # As many workers, but a longer run: again in phase 1.
    longer = ("training.epochs=8", "parallel.phase2_share=0.25")
    metrics, other = run(*options, *longer, resume=stored(folder, 5), name="longer")
    assert [line["phase"] for line in metrics] == [1, 1, 1, 2, 2, 1, 2, 2]
    assert layer_sizes(stored(other, 8)) == targets


# Errors


class FailingReporter(SilentReporter):
    """Fails when it is told of an epoch."""

    def __init__(self, error: Exception, epoch: int) -> None:
        self._error, self._epoch = error, epoch

    def epoch(self, metrics: Any) -> None:
        if metrics.epoch == self._epoch:
            raise self._error


@pytest.mark.mpi(ranks=[4])
def test_what_fails_on_the_serving_rank_is_raised_on_every_rank_and_nobody_waits(
    ctx: ParallelContext, run: Runs
) -> None:
    # The workers compute when the first epoch is recorded, and have gone home when the last one is.
    for epoch, *options in (
        (1, "parallel.strategy=wasap", "parallel.overlap=true"),
        (4, "parallel.strategy=wasap"),
        (1, "parallel.strategy=wassp", "parallel.phase2_share=0.5"),
        (4, "parallel.strategy=wassp", "parallel.phase2_share=0.5"),
    ):
        full = FailingReporter(OutputError("metrics.jsonl: disk full"), epoch)
        message = same_error_everywhere(ctx, OutputError, lambda: run(*options, reporter=full))  # noqa: B023
        assert message == "OutputError: metrics.jsonl: disk full"
    # Nobody reads any more what is printed.
    closed = FailingReporter(BrokenPipeError("closed"), 2)
    message = same_error_everywhere(ctx, RankError, lambda: run("parallel.strategy=wasap", reporter=closed))
    assert "BrokenPipeError: closed" in message


@pytest.mark.mpi(ranks=[4])
def test_divergence_is_told_by_every_rank(ctx: ParallelContext, run: Runs) -> None:
    for options in (
        ("parallel.strategy=wasap",),
        ("parallel.strategy=wasap", "parallel.overlap=true"),
        ("parallel.strategy=wassp",),
    ):
        message = same_error_everywhere(
            ctx,
            DivergedError,
            lambda: run(*options, "optimizer.learning_rate=1e25"),  # noqa: B023
        )
        assert "epoch 1: training diverged" in message
    message = same_error_everywhere(
        ctx, DivergedError, lambda: run("parallel.phase2_share=0.5", "parallel.phase2_learning_rate=1e25")
    )
    assert "epoch 3: training diverged" in message


@pytest.mark.mpi(ranks=[4])
def test_fewer_samples_than_workers_are_refused_and_as_many_are_enough(ctx: ParallelContext, run: Runs) -> None:
    run.data(n_train=2)
    message = same_error_everywhere(ctx, DataError, run)
    assert "2 training samples for 3 workers: expected at least one for each; start fewer ranks" in message
    run.data(n_train=3, n_test=2)
    for strategy in ("wasap", "wassp"):
        metrics, _ = run(f"parallel.strategy={strategy}", "parallel.phase2_share=0.5")
        assert [line["epoch"] for line in metrics] == [1, 2, 3, 4]


@pytest.mark.mpi(ranks=[3])
def test_samples_that_workers_cannot_train_on_are_refused_before_anything_is_written(
    ctx: ParallelContext, run: Runs
) -> None:
    # The serving rank has no samples that could be wrong.
    message = same_error_everywhere(ctx, DataError, lambda: run("data.augmentation=cifar", name="refused"))
    assert "expected images of 32 x 32 x 3" in message
    assert not (run.folder / "refused").exists()


@pytest.mark.mpi(ranks=[3])
def test_a_run_without_test_samples_has_no_test_accuracies_and_goes_on_all_the_same(run: Runs) -> None:
    run.data(n_test=0)
    for strategy in ("wasap", "wassp"):
        metrics, _ = run(f"parallel.strategy={strategy}", "parallel.phase2_share=0.5")
        assert [line["test_accuracy"] for line in metrics] == [None] * 4
        assert metrics[-1]["parts_test_accuracy"] == [None, None]


@pytest.mark.mpi(ranks=[1])
def test_one_rank_trains_as_if_local_sgd_had_been_asked_for_and_says_so(
    run: Runs, capfd: pytest.CaptureFixture[str]
) -> None:
    local, first = run("parallel.strategy=local_sgd")
    assert "there are no workers" not in capfd.readouterr().err
    for strategy in ("wasap", "wassp"):
        served, other = run(f"parallel.strategy={strategy}")
        said = capfd.readouterr().err
        assert f"{strategy} on one rank: there are no workers, so this is sequential training" in said
        assert served == local
        assert state_bytes(stored(other, 4)) == state_bytes(stored(first, 4))
