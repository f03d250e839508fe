"""Recurrent layers against their float64 reference, which is checked by differences, over steps, widths and threads."""

from __future__ import annotations

import numpy as np
import pytest
from recurrent_reference import Reference

from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.registry import CONNECTIONS
from hpc_sparse.network.layers.recurrent import RecurrentLayer
from hpc_sparse.network.layers.recurrent_section import RecurrentSection
from hpc_sparse.network.sinks import Write
from hpc_sparse.network.tiles import BatchShape, Tiles

N_STEPS, N_IN, N = 5, 7, 11
SETTINGS = {"block": {"block": (1, 1)}, "n_of_m": {"pattern": "2:4"}}
"""Of kinds of connections that need some."""

KINDS = sorted(set(CONNECTIONS) - {"reserve"})


def make_layer(cell, output="all", kind="csr", recurrent_kind=None, n_steps=N_STEPS, n_in=N_IN, n=N):
    section = RecurrentSection(
        kind="recurrent",
        n=n,
        cell=cell,
        output=output,
        density=0.4,
        connections=kind,
        recurrent_connections=recurrent_kind,
        **SETTINGS.get(kind, {}),
    )
    density = 1.0 if kind == "dense" else 0.4
    blueprint = LayerBlueprint(0, (n, n_in), density, "relu", 0.0, "he_fan_in", 3, section=section, grid=(n_steps,))
    layer = RecurrentLayer.random(blueprint)
    rng = np.random.default_rng(1)
    for bias in (layer.bias, layer.recurrent_bias):
        bias[:] = 0.5 * rng.standard_normal(bias.size)
    return layer


def reference(layer):
    W, U = (each.to_csr().toarray().astype(np.float64) for each in layer.connections().values())
    return Reference(layer.cell.name, W, layer.bias.astype(float), U, layer.recurrent_bias.astype(float))


def sequences(n_steps, n, n_samples, seed=0):
    return np.random.default_rng(seed).standard_normal((n_steps, n, n_samples)).astype(np.float32)


def placed(sequence, width):
    """[n_steps, n, n_samples] as tiles of as many places, with zeros beyond."""
    n_steps, n, n_samples = sequence.shape
    tiles = Tiles.empty(n, n_samples, width, n_places=n_steps)
    for step, own in enumerate(sequence):
        tiles.place(step).values[:] = Tiles.of(own, width).values
    return tiles


def unplaced(tiles, n_samples):
    return np.array([tiles.place(step).matrix()[:, :n_samples] for step in range(tiles.n_places)])


def run(layer, x, above, width, gate_below=None):
    """States, deltas below and gradients by name."""
    n_samples = x.shape[2]
    source, delta = placed(x, width), placed(above, width)
    saved = {name: np.full(each.shape, np.nan, each.dtype) for name, each in layer.saved_arrays(source.batch).items()}
    out = source.like(layer.shape[0], layer.shape_out(source.batch))
    layer.forward(source, out, saved)
    states = unplaced(out, n_samples)
    gradients = {name: np.full_like(each.values, np.nan) for name, each in layer.parameters().items()}
    layer.backward(delta, source, saved, gate_below, Write(gradients), source)
    return states, unplaced(source, n_samples), gradients


def of_connections(layer, name, dense):
    topology = layer.connections()[name].to_csr()
    rows = np.repeat(np.arange(topology.shape[0]), np.diff(topology.indptr))
    return dense[rows, topology.indices]


@pytest.mark.parametrize("cell", ["gru", "tanh"])
def test_the_reference_has_the_derivative_of_what_it_computes(cell):
    model, rng = reference(make_layer(cell)), np.random.default_rng(2)
    x, above = rng.standard_normal((N_STEPS, N_IN, 3)), rng.standard_normal((N_STEPS, N, 3))
    model.forward(x)
    found = model.backward(x, above)
    for name, gradient in found.items():
        values = x if name == "x" else getattr(model, name)
        for place in (0, values.size // 2, values.size - 1, int(np.abs(gradient).argmax())):
            before, losses = values.flat[place], []
            for step in (1e-5, -1e-5):
                values.flat[place] = before + step
                losses.append((model.forward(x) * above).sum())
            values.flat[place] = before
            np.testing.assert_allclose((losses[0] - losses[1]) / 2e-5, gradient.flat[place], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("output", ["last", "all"])
@pytest.mark.parametrize("cell", ["gru", "tanh"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_samples", [3, 112])
def test_states_and_gradients_are_those_of_the_reference(cell, output, width, n_samples):
    layer = make_layer(cell, output)
    model, x = reference(layer), sequences(N_STEPS, N_IN, n_samples)
    above = sequences(N_STEPS if output == "all" else 1, N, n_samples, seed=4)
    states, below, gradients = run(layer, x, above, width)
    exact = model.forward(x.astype(np.float64))
    of_all = np.zeros_like(exact)
    of_all[-len(above) :] = above
    found = model.backward(x.astype(np.float64), of_all)
    np.testing.assert_allclose(states, exact[-len(above) :], rtol=1e-5, atol=2e-6)
    values = {name: each.values.astype(np.float64) for name, each in layer.parameters().items()}
    np.testing.assert_allclose(
        layer.exact(x.astype(np.float64), values, None)[0], exact[-len(above) :], rtol=1e-10, atol=1e-14
    )
    np.testing.assert_allclose(below, found["x"], rtol=1e-4, atol=2e-5)
    for name, expected in (
        ("weight", of_connections(layer, "input", found["W"])),
        ("recurrent_weight", of_connections(layer, "recurrent", found["U"])),
        ("bias", found["b"]),
        ("recurrent_bias", found["c"]),
    ):
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("cell", ["gru", "tanh"])
@pytest.mark.parametrize(("kind", "block"), [*((kind, None) for kind in KINDS), ("block", (4, 4)), ("block", (1, 8))])
def test_every_kind_of_connections_gives_the_gradients_of_the_reference(cell, kind, block, monkeypatch):
    if block is not None:
        monkeypatch.setitem(SETTINGS, "block", {"block": block})
    n = N if block is None else 16
    layer = make_layer(cell, kind=kind, recurrent_kind="csr" if kind == "dense" else kind, n=n)
    x, above = sequences(N_STEPS, N_IN, 45), sequences(N_STEPS, n, 45, seed=4)
    model = reference(layer)
    _, below, gradients = run(layer, x, above, WIDTHS[1])
    model.forward(x.astype(np.float64))
    found = model.backward(x.astype(np.float64), above.astype(np.float64))
    np.testing.assert_allclose(below, found["x"], rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(gradients["bias"], found["b"], rtol=1e-4, atol=1e-4)
    for name, dense in (("input", found["W"]), ("recurrent", found["U"])):
        own = dict(zip(layer.weights.values(), layer.connections(), strict=True))
        (weight_name,) = [each for each, owner in own.items() if owner == name]
        connections = layer.connections()[name].rewired(layer.connections()[name].topology, gradients[weight_name])
        exact = np.where(layer.connections()[name].to_csr().toarray() != 0, dense, 0)
        np.testing.assert_allclose(connections.to_csr().toarray(), exact, rtol=1e-4, atol=1e-5 * np.abs(dense).max())


@pytest.mark.parametrize("cell", ["gru", "tanh"])
def test_no_bit_depends_on_threads_or_the_width_of_tiles_or_on_room(cell, on_every_thread_count):
    layer, x, above = make_layer(cell), sequences(N_STEPS, N_IN, 112), sequences(N_STEPS, N, 112, seed=4)
    for width in WIDTHS:
        (one, many) = on_every_thread_count(lambda width=width: run(layer, x, above, width))
        for own, other in zip((*one[:2], *one[2].values()), (*many[:2], *many[2].values()), strict=True):
            assert own.tobytes() == other.tobytes()
        narrow = run(layer, x, above, WIDTHS[0])
        assert narrow[0].tobytes() == one[0].tobytes()
        assert narrow[1].tobytes() == one[1].tobytes()
        source = placed(x, width)
        out = source.like(N)
        layer.forward(source, out)
        assert unplaced(out, 112).tobytes() == one[0].tobytes()


@pytest.mark.parametrize("output", ["last", "all"])
@pytest.mark.parametrize("cell", ["gru", "tanh"])
def test_a_sample_alone_has_the_bits_of_a_batch(cell, output):
    layer, x = make_layer(cell, output), sequences(N_STEPS, N_IN, 40)
    n_out = N * (N_STEPS if output == "all" else 1)
    states = run(layer, x, np.zeros((n_out // N, N, 40), np.float32), WIDTHS[-1])[0]
    for sample in (0, 17, 39):
        alone = np.empty(n_out, np.float32)
        layer.forward_alone(np.ascontiguousarray(x[:, :, sample]).reshape(-1), alone)
        assert alone.tobytes() == np.ascontiguousarray(states[:, :, sample]).tobytes()


@pytest.mark.parametrize("cell", ["gru", "tanh"])
def test_saved_bytes_are_those_of_the_arrays(cell):
    layer, shape = make_layer(cell), BatchShape(37, N_STEPS)
    saved = sum(np.prod(each.shape) * np.dtype(each.dtype).itemsize for each in layer.saved_arrays(shape).values())
    assert RecurrentLayer.saved_bytes(N, shape, layer.settings()) == saved


@pytest.mark.parametrize("cell", ["gru", "tanh"])
def test_signals_give_the_gradient_of_each_map(cell):
    layer, x, above = make_layer(cell), sequences(N_STEPS, N_IN, 33), sequences(N_STEPS, N, 33, seed=4)
    source, delta = placed(x, WIDTHS[0]), placed(above, WIDTHS[0])
    saved = {name: np.empty(each.shape, each.dtype) for name, each in layer.saved_arrays(source.batch).items()}
    out = source.like(N)
    layer.forward(source, out, saved)
    gradients = {name: np.empty_like(each.values) for name, each in layer.parameters().items()}
    layer.backward(delta, source, saved, None, Write(gradients), None)
    for name, (own_source, own_delta) in layer.signals(delta, source, saved).items():
        dense = np.einsum("tix,tjx->ij", unplaced(own_delta, 33), unplaced(own_source, 33), dtype=np.float64)
        expected = gradients[layer.weights[name]]
        np.testing.assert_allclose(of_connections(layer, name, dense), expected, rtol=1e-4, atol=1e-4)
