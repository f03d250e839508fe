"""The self-test passes where the kernels are right, whatever the settings, and finds a gradient that is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hpc_sparse.errors import DivergedError
from hpc_sparse.kernels.simd import machine
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs import gradient_check
from hpc_sparse.runs.gradient_check import check_gradients
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.replica_states import (
    initial_replica,
)

CTX = ParallelContext.serial(threads=1)


def make_job(config, dataset):
    return TrainingJob(CTX, config, dataset, initial_replica(config, dataset.info), SilentReporter())


@pytest.fixture(params=[False, True], ids=["updates", "gradients for a server"])
def is_served(request, monkeypatch):
    """Which of both ways a rank computes gradients."""
    monkeypatch.setattr(gradient_check, "is_served", lambda ctx, config: request.param)


@pytest.mark.usefixtures("is_served")
@pytest.mark.parametrize("width", machine.WIDTHS)
def test_right_gradients_of_several_tiles_pass(make_config, make_dataset, width):
    job = make_job(make_config("training.batch_size=200"), make_dataset())
    job.replica.network.tile_width = width
    assert 0 < check_gradients(job, 1) < 1e-4


@pytest.mark.usefixtures("is_served")
@pytest.mark.parametrize("block", [(1, 1), (4, 8), (16, 4)], ids=str)
def test_gradients_of_blocks_pass(make_config, make_dataset, block):
    config = make_config("network.connections=block", f"network.block=[{block[0]},{block[1]}]", "network.epsilon=8")
    job = make_job(config, make_dataset())
    assert 0 < check_gradients(job, 1) < 1e-4


@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
@pytest.mark.parametrize("activation", ["all_relu", "relu", "leaky_relu"])
def test_right_gradients_pass_and_the_network_stays(make_config, make_dataset, kind, activation):
    job = make_job(make_config(f"network.activation={activation}"), make_dataset(kind=kind))
    before = [(layer.weight.tobytes(), layer.bias.tobytes()) for layer in job.replica.network.layers]
    assert 0 < check_gradients(job, 1) < 1e-4
    assert [(layer.weight.tobytes(), layer.bias.tobytes()) for layer in job.replica.network.layers] == before


@pytest.mark.usefixtures("is_served")
@pytest.mark.parametrize(
    ("loss", "n_classes"),
    [("binary_cross_entropy", 2), ("mse", 2), ("mse", 3), ("mse_tanh", 2), ("mse_tanh", 3), ("cross_entropy", 2)],
)
def test_every_loss_passes(make_config, make_dataset, loss, n_classes):
    job = make_job(make_config(f"training.loss={loss}"), make_dataset(n_classes=n_classes))
    assert 0 < check_gradients(job, 2) < 1e-4


@pytest.mark.usefixtures("is_served")
def test_gradients_from_short_activations_pass_with_the_tolerance_of_theirs(make_config, make_dataset):
    job = make_job(make_config("training.activations=bfloat16"), make_dataset())
    assert 1e-4 < check_gradients(job, 1) < 0.03


@pytest.mark.parametrize("part", ["weight", "bias"])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_wrong_gradient_is_found_in_its_layer(make_config, make_dataset, monkeypatch, layer, part):
    job = make_job(make_config(), make_dataset())
    compute = gradient_check._computed_gradients

    def compute_wrongly(*arguments):
        gradients, factors = compute(*arguments)
        gradients[layer][part][:] *= np.float32(1.01)
        return gradients, factors

    monkeypatch.setattr(gradient_check, "_computed_gradients", compute_wrongly)
    with pytest.raises(DivergedError, match=rf"gradients of layer {layer} differ .* by \d\.\de-03 of the largest"):
        check_gradients(job, 1)


@pytest.mark.usefixtures("is_served")
def test_wrong_deltas_are_found(make_config, make_dataset, monkeypatch):
    job = make_job(make_config(), make_dataset())
    right = CrossEntropy.evaluate

    def evaluate(self, sums, labels, delta):
        outcome = right(self, sums, labels, delta)
        delta.values[:] *= np.float32(0.99)
        return outcome

    monkeypatch.setattr(CrossEntropy, "evaluate", evaluate)
    with pytest.raises(DivergedError, match="gradients of layer 0 differ"):
        check_gradients(job, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_do_not_pass(make_config, make_dataset, value):
    job = make_job(make_config(), make_dataset())
    job.replica.network.layers[1].weight[:] = value
    with pytest.raises(DivergedError, match="not finite"):
        check_gradients(job, 1)


def test_a_rank_without_samples_has_nothing_to_check(make_config, make_dataset):
    dataset = make_dataset()
    empty = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, labels=dataset.train.labels[:0]))
    empty = dataclasses.replace(
        empty,
        train=dataclasses.replace(
            empty.train, features=dataclasses.replace(dataset.train.features, values=dataset.train.features.values[:0])
        ),
    )
    job = TrainingJob(CTX, make_config(), empty, initial_replica(make_config(), dataset.info), SilentReporter())
    assert check_gradients(job, 1) == 0.0
