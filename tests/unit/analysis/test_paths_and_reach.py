"""Paths, dead neurons and effective connections, against all paths listed one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hpc_sparse.analysis import count_paths, find_reach, paths
from hpc_sparse.analysis.reach import EffectiveSize, effective_size


def list_paths(masks: list[np.ndarray]) -> list[tuple[int, ...]]:
    """Every path as the numbers of its neurons, from the input to the output."""
    widths = [masks[0].shape[0], *(mask.shape[1] for mask in masks)]
    chains = product(*(range(width) for width in widths))
    return [chain for chain in chains if all(mask[chain[k], chain[k + 1]] for k, mask in enumerate(masks))]


NETWORKS = [((5, 6, 4, 3), 0.3, 0), ((5, 6, 4, 3), 0.15, 1), ((7, 9), 0.2, 2), ((1, 3, 1), 0.5, 3), ((4, 4, 4), 0.0, 4)]


@pytest.mark.parametrize(("widths", "density", "seed"), NETWORKS)
def test_paths_are_those_that_can_be_listed(make_masks, to_sparse, monkeypatch, widths, density, seed):
    masks = make_masks(widths, density, seed)
    listed = list_paths(masks)
    for block_bytes in (1, paths.BLOCK_BYTES):
        monkeypatch.setattr(paths, "BLOCK_BYTES", block_bytes)
        found = count_paths(to_sparse(masks))
        assert found.total == len(listed)
        assert found.from_input.tolist() == [sum(path[0] == i for path in listed) for i in range(widths[0])]
        assert found.to_output.tolist() == [sum(path[-1] == j for path in listed) for j in range(widths[-1])]
        pairs = {(path[0], path[-1]) for path in listed}
        assert found.n_outputs_reached.tolist() == [sum(i == pair[0] for pair in pairs) for i in range(widths[0])]
        assert found.connectivity == pytest.approx(len(pairs) / (widths[0] * widths[-1]))


def test_the_expected_paths_are_the_mean_over_random_networks(make_masks, to_sparse):
    found = [count_paths(to_sparse(make_masks((9, 8, 7, 3), 0.3, seed))) for seed in range(300)]
    totals, expected = [each.total for each in found], [each.expected_total for each in found]
    assert np.mean(totals) == pytest.approx(np.mean(expected), rel=0.05)
    dense = count_paths(to_sparse(make_masks((9, 8, 7, 3), 1.0)))
    assert dense.total == 9 * 8 * 7 * 3
    assert dense.expected_total == pytest.approx(dense.total)


@pytest.mark.parametrize(("widths", "density", "seed"), NETWORKS)
def test_live_neurons_and_connections_are_those_on_a_listed_path(make_masks, to_sparse, widths, density, seed):
    masks = make_masks(widths, density, seed)
    listed = list_paths(masks)
    found = find_reach(to_sparse(masks))
    for number, width in enumerate(widths):
        alive = {path[number] for path in listed}
        assert found.is_dead[number].tolist() == [neuron not in alive for neuron in range(width)]
        to_here, from_here = list_paths(masks[:number]) if number else None, masks[number:]
        if to_here is not None:
            reached = {path[-1] for path in to_here}
            assert found.is_reached[number].tolist() == [neuron in reached for neuron in range(width)]
            assert found.has_incoming[number].tolist() == (masks[number - 1].sum(axis=0) > 0).tolist()
        if from_here:
            used = {path[0] for path in list_paths(from_here)}
            assert found.is_used[number].tolist() == [neuron in used for neuron in range(width)]
            assert found.has_outgoing[number].tolist() == (masks[number].sum(axis=1) > 0).tolist()
    effective = [len({path[k : k + 2] for path in listed}) for k in range(len(masks))]
    assert found.n_effective.tolist() == effective
    n_alive = sum(len({path[number] for path in listed}) for number in range(len(widths)))
    assert effective_size(to_sparse(masks)) == EffectiveSize(n_alive, sum(effective))


def test_a_chain_of_dead_neurons_is_followed_to_its_end():
    # Input 0 leads by 0 -> 0 to nothing, input 1 by 1 -> 1 to the output.
    masks = [np.array([[1, 0], [0, 1]]), np.array([[1, 0], [0, 1]]), np.array([[0], [1]])]
    from scipy.sparse import csr_array

    found = find_reach([csr_array(mask) for mask in masks])
    assert [dead.tolist() for dead in found.is_dead] == [[True, False]] * 3 + [[False]]
    assert found.has_outgoing[0].tolist() == [True, True]
    assert found.n_effective.tolist() == [1, 1, 1]
