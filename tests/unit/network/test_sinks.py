"""Where gradients go: parameters that move at once, or arrays that keep them."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.network.optimizers.sgd import Sgd, StepFactors
from hpc_sparse.network.optimizers.state import OptimizerState
from hpc_sparse.network.sinks import Write

NAMES = ("key weight", "key bias")
RATE = 0.1


def numbers(n, seed):
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def moved(values, gradient, velocity, sgd, decay):
    """The values and velocities after one step by the textbook, in float64."""
    values, gradient, velocity = (array.astype(np.float64) for array in (values, gradient, velocity))
    velocity = sgd.momentum * velocity - RATE * gradient
    step = sgd.momentum * velocity - RATE * gradient if sgd.is_nesterov else velocity
    return values + step - RATE * decay * values, velocity


@pytest.fixture
def state():
    return OptimizerState({"velocity": {NAMES[0]: numbers(7, 1), NAMES[1]: numbers(3, 2), "scale": numbers(4, 3)}})


@pytest.mark.parametrize("sgd", [Sgd(0.0), Sgd(0.9), Sgd(0.9, 0.2), Sgd(0.9, 0.2, is_nesterov=True)])
def test_descending_moves_a_map_and_what_belongs_to_none_as_the_textbook_says(state, sgd):
    sink = sgd.sink(RATE, state, lambda n: np.empty(n, np.float32))
    arrays = {NAMES[0]: numbers(7, 4), NAMES[1]: numbers(3, 5), "scale": numbers(4, 6)}
    gradients = {name: numbers(values.size, 7) for name, values in arrays.items()}
    decays = {NAMES[0]: sgd.weight_decay, NAMES[1]: 0.0, "scale": 0.0}
    expected = {
        name: moved(values, gradients[name], state["velocity"][name], sgd, decays[name])
        for name, values in arrays.items()
    }
    sink.map(arrays[NAMES[0]], arrays[NAMES[1]], NAMES).accept(gradients[NAMES[0]], gradients[NAMES[1]])
    sink.accept("scale", arrays["scale"], gradients["scale"], decays=False)
    for name, (values, velocity) in expected.items():
        np.testing.assert_allclose(arrays[name], values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(state["velocity"][name], velocity, rtol=1e-5, atol=1e-6)


def test_a_parameter_of_no_map_decays_if_it_is_to(state):
    sgd, values, gradient = Sgd(0.9, 0.5), numbers(4, 6), numbers(4, 7)
    expected, _ = moved(values, gradient, state["velocity"]["scale"], sgd, 0.5)
    sink = sgd.sink(RATE, state, lambda n: np.empty(n, np.float32))
    sink.accept("scale", values, gradient, decays=True)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_writing_keeps_gradients_and_leaves_parameters_alone():
    room = {NAMES[0]: np.empty(7, np.float32), NAMES[1]: np.empty(3, np.float32), "scale": np.empty(4, np.float32)}
    arrays = {name: numbers(values.size, 4) for name, values in room.items()}
    before = {name: values.copy() for name, values in arrays.items()}
    gradients = {name: numbers(values.size, 7) for name, values in room.items()}
    sink = Write(room)
    sink.map(arrays[NAMES[0]], arrays[NAMES[1]], NAMES).accept(gradients[NAMES[0]], gradients[NAMES[1]])
    sink.accept("scale", arrays["scale"], gradients["scale"], decays=True)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(room[name], gradient)
        np.testing.assert_array_equal(arrays[name], before[name])


def test_factors_are_those_that_kernels_take():
    factors = StepFactors.of(Sgd(0.9, 0.5, is_nesterov=True), 0.25)
    assert factors == (0.25, np.float32(0.9), 0.125, True)
    assert all(each.dtype == np.float32 for each in factors[:3])
