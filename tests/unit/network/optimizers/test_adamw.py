"""AdamW against its formula in float64, and what becomes of its state when connections change."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.optimizers.adamw import AGE, MEAN, SQUARE, Adamw
from hpc_sparse.network.optimizers.registry import make_optimizer
from hpc_sparse.network.replica import Replica


def exact(values, gradients, n_decayed, rate, decay, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Algorithm 2 of the paper, step by step in float64."""
    values = values.astype(np.float64)
    mean, square = np.zeros_like(values), np.zeros_like(values)
    for step, gradient in enumerate(gradients.astype(np.float64), 1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        values[:n_decayed] *= 1 - rate * decay
        values -= rate * (mean / (1 - beta1**step)) / (np.sqrt(square / (1 - beta2**step)) + epsilon)
    return values


def at_rest(n):
    return {name: np.zeros(n, np.float32) for name in Adamw.state_arrays}


@pytest.mark.parametrize("n", [1, 37, 1001])
@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.999), (0.0, 0.9), (0.5, 0.0)])
def test_many_steps_are_those_of_the_paper(n, beta1, beta2):
    rng = np.random.default_rng(n)
    values = rng.standard_normal(n).astype(np.float32)
    gradients = (rng.standard_normal((60, n)) * 10.0 ** rng.integers(-4, 2, n)).astype(np.float32)
    expected = exact(values, gradients, n // 2, 0.01, 0.1, beta1, beta2)
    optimizer, states = Adamw(beta1, beta2, weight_decay=0.1), at_rest(n)
    for gradient in gradients:
        optimizer.descend(0.01, values, gradient.copy(), n // 2, states)
    np.testing.assert_allclose(values, expected, rtol=2e-4, atol=2e-5)
    assert (states[AGE] == 60).all()


def test_weights_decay_by_the_rate_alone_however_large_gradients_are():
    values, states = np.ones(4, np.float32), at_rest(4)
    Adamw(weight_decay=0.5).descend(0.1, values, np.array([0, 0, 0, 0], np.float32), 2, states)
    np.testing.assert_allclose(values, [0.95, 0.95, 1, 1], rtol=1e-6)


def test_a_number_gives_the_same_bits_alone_and_among_others():
    rng = np.random.default_rng(4)
    values, gradients = rng.standard_normal(53).astype(np.float32), rng.standard_normal((9, 53)).astype(np.float32)
    together, states = values.copy(), at_rest(53)
    states[AGE][::3] = 7
    ages = states[AGE].copy()
    for gradient in gradients:
        Adamw(weight_decay=0.01).descend(0.01, together, gradient.copy(), 53, states)
    for i in range(53):
        alone, own = values[i : i + 1].copy(), at_rest(1)
        own[AGE][:] = ages[i]
        for gradient in gradients:
            Adamw(weight_decay=0.01).descend(0.01, alone, gradient[i : i + 1].copy(), 1, own)
        assert alone[0] == together[i]


def test_a_grown_connection_takes_the_first_steps_of_a_new_one_and_others_go_on():
    topology = Topology.from_keys((3, 5), np.array([0, 3, 6, 8, 12]))
    layer = SparseLayer.of(topology, np.arange(1, 6, dtype=np.float32), np.zeros(3, np.float32), 1.0)
    replica = Replica.at_rest(Network([layer], tile_width=WIDTHS[0]), Adamw().state_types)
    optimizer = Adamw()

    def step(gradient):
        own = replica.network.layers[0]
        before = own.weight.copy()
        optimizer.descend(0.01, own.weight, np.array(gradient, np.float32), 0, replica.states[0].of("weight"))
        return own.weight - before

    for _ in range(50):
        step([1, -1, 1, -1, 1])
    is_kept = np.array([True, False, True, True, True])
    replica.follow(0, {"input": topology.replaced(is_kept, np.array([9]))})
    grown = replica.network.layers[0].topology.keys().tolist().index(9)
    state = replica.states[0]
    assert state[AGE]["weight"].tolist() == [0 if i == grown else 50 for i in range(5)]
    assert state[MEAN]["weight"][grown] == state[SQUARE]["weight"][grown] == 0
    moved = step([1e-3] * 5)
    assert moved[grown] == pytest.approx(-0.01, rel=1e-3)
    assert np.abs(np.delete(moved, grown)).max() < 0.0095


def test_the_configuration_reaches_the_optimiser(make_config):
    config = make_config(
        *("training.optimizer=adamw", "optimizer.weight_decay=0.1", "optimizer.adamw.beta2=0.95"),
    )
    assert make_optimizer(config) == Adamw(0.9, 0.95, 1e-8, 0.1)
