"""Convolutions against NumPy in float64, and their outputs under all circular shifts, bit by bit."""

from __future__ import annotations

from itertools import product

import numba
import numpy as np
import pytest

from hpc_sparse.config.layers import LayerSection
from hpc_sparse.kernels.convolution import order_free
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.layers.convolution import ConvolutionLayer
from hpc_sparse.network.layers.convolution_section import ConvolutionSection
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.network import Network
from hpc_sparse.network.sinks import Write
from hpc_sparse.network.tiles import Tiles

ROWS, COLUMNS, N_IN, N, N_SAMPLES = 6, 4, 5, 7, 83
SAMPLINGS = ("none", "stride", "blur", "polyphase", "polyphase_blur")
POOLS = ("none", "average")


def make_layer(sampling="none", pool="none", kernel=3, norm="l2", grid=(ROWS, COLUMNS), n_in=N_IN, n=N, number=0):
    section = ConvolutionSection(
        kind="convolution", n=n, kernel=kernel, sampling=sampling, pool=pool, norm=norm, density=0.4
    )
    blueprint = LayerBlueprint(number, (n, n_in), 0.4, "leaky_relu", 0.3, "he_fan_in", 3, section=section, grid=grid)
    layer = ConvolutionLayer.random(blueprint)
    layer.bias[:] = 0.3 * np.random.default_rng(1).standard_normal(n)
    return layer


def images(n_places=ROWS * COLUMNS, n=N_IN, n_samples=N_SAMPLES, seed=0):
    return np.random.default_rng(seed).standard_normal((n_places, n, n_samples)).astype(np.float32)


def placed(values, width):
    """[n_places, n, n_samples] as tiles of as many places, with zeros beyond."""
    n_places, n, n_samples = values.shape
    tiles = Tiles.empty(n, n_samples, width, n_places=n_places)
    for place, own in enumerate(values):
        tiles.place(place).values[:] = Tiles.of(own, width).values
    return tiles


def unplaced(tiles, n_samples):
    return np.array([tiles.place(place).matrix()[:, :n_samples] for place in range(tiles.n_places)])


def forward(layer, x, width):
    source = placed(x, width)
    saved = {name: np.full(each.shape, 7, each.dtype) for name, each in layer.saved_arrays(source.batch).items()}
    out = source.like(layer.shape[0], layer.shape_out(source.batch))
    layer.forward(source, out, saved)
    return source, saved, unplaced(out, x.shape[2])


def parameters_of(layer):
    return {name: each.values.astype(np.float64) for name, each in layer.parameters().items()}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("sampling", "pool"), list(product(SAMPLINGS, POOLS)))
def test_a_pass_forward_and_back_is_that_of_numpy(sampling, pool, width):
    for kernel in (1, 2, 3, 4) if width == WIDTHS[0] else (3,):
        layer = make_layer(sampling, pool, kernel)
        x = images(seed=1)  # no sum so close to 0 that rounding decides about its sign
        source, saved, found = forward(layer, x, width)
        values = parameters_of(layer)
        exact, bend = layer.exact(x.astype(np.float64), values, None)
        np.testing.assert_allclose(found, exact, rtol=1e-5, atol=2e-6)
        above = images(*exact.shape, seed=5)
        gradients = {name: np.full_like(each.values, np.nan) for name, each in layer.parameters().items()}
        layer.backward(placed(above, width), source, saved, None, Write(gradients), source)
        below = unplaced(source, N_SAMPLES)

        def loss(x, values, layer=layer, bend=bend, above=above):
            return (layer.exact(x, values, None, bend)[0] * above).sum()

        # With the phases held fixed, the loss is linear in the images, and in the parameters.
        for seed in range(3):
            rng = np.random.default_rng(seed)
            step = rng.standard_normal(x.shape)
            change = loss(x + step, values) - loss(x.astype(np.float64), values)
            assert abs(change - (below * step).sum()) < 1e-4 * np.linalg.norm(below)
            steps = {name: rng.standard_normal(each.shape) for name, each in values.items()}
            moved = {name: values[name] + steps[name] for name in values}
            change = loss(x.astype(np.float64), moved) - loss(x.astype(np.float64), values)
            expected = sum((gradients[name] * steps[name]).sum() for name in steps)
            assert abs(change - expected) < 1e-4 * np.sqrt(sum((each**2).sum() for each in gradients.values()))


def test_bits_depend_neither_on_threads_nor_on_the_width_of_tiles_nor_on_other_samples():
    layer, x, n_before = make_layer("polyphase", "average"), images(), numba.get_num_threads()
    try:
        results = []
        for n_threads in {1, n_before}:
            numba.set_num_threads(n_threads)
            source, saved, found = forward(layer, x, 32)
            gradients = {name: np.empty_like(each.values) for name, each in layer.parameters().items()}
            layer.backward(placed(found, 32), source, saved, None, Write(gradients), None)
            results.append((found, *gradients.values()))
        for one, other in zip(results[0], results[-1], strict=True):
            np.testing.assert_array_equal(one, other)
    finally:
        numba.set_num_threads(n_before)
    for width in WIDTHS:
        np.testing.assert_array_equal(forward(layer, x, width)[2], found)
    alone = np.empty(N, np.float32)
    layer.forward_alone(np.ascontiguousarray(x[:, :, 7].reshape(-1)), alone)
    np.testing.assert_array_equal(alone, found[0, :, 7])


def test_signals_give_the_gradient_of_every_tap():
    layer, x = make_layer("polyphase_blur"), images()
    source, saved, found = forward(layer, x, 32)
    gradients = {name: np.empty_like(each.values) for name, each in layer.parameters().items()}
    layer.backward(placed(found, 32), source, saved, None, Write(gradients), None)
    read, delta = layer.signals(placed(found, 32), source, saved)["input"]
    every = np.einsum("pis,pos->oi", unplaced(read, N_SAMPLES), unplaced(delta, N_SAMPLES))
    t = layer.incoming.topology
    np.testing.assert_allclose(every[t.outs(), t.indices], gradients["weight"], rtol=1e-3, atol=1e-3)


def special_images(side, n_colours, seed=0):
    """Images as [rows, columns, colours, samples] with phases that tie: constant, repeated, of equal rows, one dot."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((side, side, n_colours, 24)).astype(np.float32)
    half = side // 2
    x[..., 0], x[..., 1] = 0.3, 0.0
    x[..., 2] = x[:, :1, :, 2]
    x[..., 3] = np.tile(x[:half, :half, :, 3], (2, 2, 1))
    x[:, ::2, :, 4] = x[:, 1::2, :, 4]  # columns come in pairs
    x[:, ::2, :, 5] = np.roll(x[:, 1::2, :, 5], 1, axis=1)
    x[..., 6] = 0.0
    x[1, 2, 0, 6] = 1.0
    x[::2, :, :, 7] = x[1::2, ::-1, :, 7]  # phases of equal norms, mirror images of each other
    x[:, :, :, 8] = np.float32(1e-30) * x[:, :, :, 9]
    x[:, :, :, 10] = np.float32(1e15) * x[:, :, :, 11]
    x[..., 12] = -0.3
    return x


def small_network(sampling, norm="l2", side=8, n_colours=3):
    layers = [
        make_layer(sampling, "none", 3, norm, (side, side), n_colours, 6),
        make_layer(sampling, "average", 2, norm, (side // 2, side // 2), 6, 9, number=1),
    ]
    topology = make_layer("none", "none", 1, grid=(1, 1), n_in=9, n=4).incoming.topology
    weight = np.random.default_rng(2).standard_normal(topology.n_connections).astype(np.float32)
    return Network([*layers, SparseLayer.of(topology, weight, np.zeros(4, np.float32), 1.0)], tile_width=32)


def outputs(network, x):
    side, _, n_colours, n_samples = x.shape
    workspace = network.make_workspace(n_samples)
    return (
        network.forward(placed(x.reshape(side**2, n_colours, n_samples), 32), workspace).matrix()[:, :n_samples].copy()
    )


def changed_by_shifts(network, x):
    """Circular shifts that change the bits of the outputs of each sample."""
    before, side = outputs(network, x), len(x)
    n_changed = np.zeros(x.shape[3], int)
    for down, right in product(range(side), range(side)):
        after = outputs(network, np.roll(x, (down, right), (0, 1)))
        n_changed += (after.view(np.uint32) != before.view(np.uint32)).any(axis=0)
    return n_changed


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("sampling", ["polyphase", "polyphase_blur"])
def test_no_circular_shift_changes_a_bit(sampling, norm):
    np.testing.assert_array_equal(changed_by_shifts(small_network(sampling, norm), special_images(8, 3)), 0)


def test_stride_and_blur_change_with_shifts():
    for sampling in ("stride", "blur"):
        n_changed = changed_by_shifts(small_network(sampling), special_images(8, 3))
        assert (n_changed[[0, 1, 12]] == 0).all()  # constant images
        assert (n_changed[13:] > 32).all()


def test_equal_norms_are_settled_by_what_phases_hold():
    # Four phases with the same values in other orders: only their contents tell them apart.
    rng = np.random.default_rng(0)
    values = rng.standard_normal(16).astype(np.float32)
    x = np.zeros((8, 8, 1, 1), np.float32)
    for y, left in product(range(2), range(2)):
        x[y::2, left::2, 0, 0] = rng.permutation(values).reshape(4, 4)
    for norm in ("l1", "l2", "linf"):
        network = small_network("polyphase", norm, n_colours=1)
        topology = network.layers[0].incoming.topology
        only_middle = np.asarray(topology.indices == 4)  # nothing but a tap to the same place: norms stay equal
        network.layers[0].incoming.weight[:] = only_middle
        network.layers[0].bias[:] = 0
        np.testing.assert_array_equal(changed_by_shifts(network, x), 0)


def test_a_mean_of_what_is_not_finite_is_not_a_number():
    for wrong in (np.nan, np.inf, -np.inf):
        values = images(6, 1, 40).reshape(-1)
        values[45] = wrong
        out = np.empty(40, np.float32)
        order_free.average(values, np.float32(1), 6, out)
        assert np.isnan(out).nonzero()[0].tolist() == [5]
        np.testing.assert_allclose(
            np.delete(out, 5), np.delete(values.reshape(6, 40).mean(axis=0), 5), rtol=1e-5, atol=1e-6
        )


def state_of(layer, **settings):
    connections = {"input": layer.incoming.state()}
    parameters = {name: each.values for name, each in layer.parameters().items()}
    given = {**layer.settings(), **settings}
    return LayerState("convolution", layer.shape, layer.activation, connections, parameters, {}, given)


class Config:
    """As much of a configuration as a layer asks for."""

    @staticmethod
    def alpha_of(number):
        return 0.3


def test_a_layer_comes_back_from_its_state():
    layer = make_layer("polyphase", "average", norm="linf")
    back = ConvolutionLayer.from_state(state_of(layer), Config(), 0, is_last=False, acting_share=1.0)
    np.testing.assert_array_equal(forward(back, images(), 16)[2], forward(layer, images(), 16)[2])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kernel": 0}, "kernel 0: expected a whole number"),
        ({"kernel": 5}, "kernel 5: larger than the image of 6 x 4"),
        ({"kernel": 2}, "connections input have 7 x 45 neurons: expected 7 x 20"),
        ({"rows": 5, "places": 20}, "rows 5, columns 4: expected even numbers"),
        ({"places": 25}, "places 25: expected 6 x 4"),
        ({"sampling": "max"}, 'sampling "max": expected one of none, stride'),
        ({"norm": 3}, 'norm "3": expected one of'),
        ({"pool": "max"}, 'pool "max": expected one of'),
        ({"columns": "4"}, "columns 4: expected a whole number"),
        ({"other": 1}, "settings .*other.*: expected kernel"),
    ],
)
def test_settings_that_are_wrong_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        ConvolutionLayer.from_state(
            state_of(make_layer("stride"), **settings), Config(), 0, is_last=False, acting_share=1.0
        )


def test_only_layers_of_images_change_their_places():
    section = ConvolutionSection(kind="convolution", n=3, sampling="blur")
    assert section.grid_out((8, 6)) == (4, 3)
    assert ConvolutionSection(kind="convolution", n=3, pool="average").grid_out((8, 6)) == ()
    assert LayerSection(n=3).grid_out((8, 6)) == (8, 6)
    with pytest.raises(ValueError, match="kernel = 3: larger than the image, which has 2 x 2"):
        section.grid_out((2, 2))
