"""Layers from correlations, against NumPy's matrix of them."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.evolution.initial import correlated
from hpc_sparse.evolution.initial.correlated import FeatureSums, correlated_topologies, drawn_features


@pytest.fixture
def samples():
    """float32[13, 240]: features that depend on each other, and one that never varies."""
    values = np.random.default_rng(2).standard_normal((13, 240)).astype(np.float32)
    values[5] += 3 * values[2]
    values[7] -= 2 * values[2] + values[1]
    values[4] = 9.7
    values[9] = 1000 + 0.5 * values[8]
    return values


def connect(samples, widths, sizes, n_each=50, seed=3, parts=1):
    """Topologies from samples that come ``n_each`` at a time, summed in so many parts as ranks would."""
    features = [np.arange(13), *(drawn_features(n, 13, np.random.default_rng(seed + n)) for n in widths)]
    shares = np.array_split(samples, parts, axis=1)

    def batches():
        for share in shares[::-1]:
            for start in range(0, share.shape[1], n_each):
                yield share[:, start : start + n_each]

    largest = np.abs(samples).max(axis=1)
    sums = FeatureSums.of(batches, largest, samples.shape[1], lambda _: None)
    rngs = [np.random.default_rng(seed) for _ in widths]
    return features, correlated_topologies(features, sizes, sums, batches, lambda _: None, rngs)


def scores_of(samples, above, below):
    with np.errstate(invalid="ignore"):
        matrix = np.nan_to_num(np.abs(np.corrcoef(samples.astype(np.float64))))
    matrix[4] = matrix[:, 4] = 0
    scores = matrix[above][:, below]
    scores[above[:, None] == below] = -1
    return scores.reshape(-1)


@pytest.mark.parametrize("tile_bytes", [1 << 24, 1])
@pytest.mark.parametrize(("widths", "sizes"), [((13, 26), (30, 40)), ((9, 5), (1, 0)), ((31, 300, 7), (200, 900, 80))])
def test_neurons_of_all_layers_are_connected_with_those_of_the_most_correlated_features(
    samples, widths, sizes, tile_bytes, monkeypatch
):
    monkeypatch.setattr(correlated, "TILE_BYTES", tile_bytes)
    monkeypatch.setattr(correlated, "MIN_TILE_ROWS", 3)
    features, topologies = connect(samples, widths, sizes)
    for below, above, size, topology in zip(features[:-1], features[1:], sizes, topologies, strict=True):
        assert topology.shape == (above.size, below.size)
        topology.check()
        score, keys = scores_of(samples, above, below), topology.keys()
        assert keys.size == size
        assert size == 0 or score[keys].min() >= np.delete(score, keys).max() - 1e-4


def test_no_neuron_is_connected_with_its_own_feature(samples):
    features, topologies = connect(samples, (26, 26), (26 * 12, 26 * 20))
    for below, above, topology in zip(features[:-1], features[1:], topologies, strict=True):
        rows = np.repeat(np.arange(topology.shape[0]), topology.fan_in())
        assert (above[rows] != below[topology.indices]).all()


def test_all_pairs_are_connected_where_that_many_are_wanted(samples):
    _, (topology,) = connect(samples, (13,), (169,))
    assert topology.n_connections == 169


def test_a_feature_that_never_varies_is_connected_last(samples):
    features, (topology,) = connect(samples, (13,), (12 * 11,))
    assert not (np.array([4]) == topology.indices[:, None]).any()
    assert topology.fan_in()[features[1] == 4] == 0


def test_the_order_of_samples_batches_and_ranks_leaves_every_bit(samples):
    """Duplicates of features tie exactly; large means take many digits."""
    samples[3], samples[11] = samples[2], -samples[2]
    found = [
        [topology.keys().tolist() for topology in connect(values, (31, 20), (150, 90), n_each, parts=parts)[1]]
        for values, n_each, parts in ((samples, 240, 1), (samples, 7, 3), (samples[:, ::-1].copy(), 50, 4))
    ]
    assert found[0] == found[1] == found[2]


def test_all_samples_count(samples):
    _, some = connect(samples[:, :40], (13,), (20,))
    _, every = connect(samples, (13,), (20,))
    assert some[0].keys().tolist() != every[0].keys().tolist()


def test_features_repeat_only_when_all_are_taken():
    drawn = drawn_features(31, 13, np.random.default_rng(0))
    assert set(drawn[:13]) == set(drawn[13:26]) == set(range(13))
