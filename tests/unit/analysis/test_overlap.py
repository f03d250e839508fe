"""Shared and explored connections, against sets of positions."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.analysis import explored_connections, shared_connections
from hpc_sparse.errors import InputError


def test_shared_connections_are_the_common_ones_of_dense_masks(make_masks, to_sparse):
    own, reference = make_masks(density=0.3, seed=1), make_masks(density=0.5, seed=2)
    found = shared_connections(to_sparse(own), to_sparse(reference))
    common = [int((a & b).sum()) for a, b in zip(own, reference, strict=True)]
    either = [int((a | b).sum()) for a, b in zip(own, reference, strict=True)]
    sizes = [int(mask.sum()) for mask in reference]
    assert found.n_common.tolist() == common
    assert found.overlap == pytest.approx(sum(common) / sum(sizes))
    assert found.intersection_over_union == pytest.approx(sum(common) / sum(either))
    chance = sum(a.mean() * b.sum() for a, b in zip(own, reference, strict=True)) / sum(sizes)
    assert found.chance_overlap == pytest.approx(chance)
    for number, (part, whole) in enumerate(zip(common, either, strict=True)):
        layer = found.layer(number)
        assert layer.intersection_over_union == pytest.approx(part / whole)
        assert layer.overlap == pytest.approx(part / sizes[number])


def test_a_network_shares_all_with_itself_and_nothing_with_its_complement(make_masks, to_sparse):
    masks = make_masks()
    same = shared_connections(to_sparse(masks), to_sparse(masks))
    assert (same.overlap, same.intersection_over_union) == (1, 1)
    other = shared_connections(to_sparse(masks), to_sparse([1 - mask for mask in masks]))
    assert (other.overlap, other.intersection_over_union) == (0, 0)


def test_networks_without_connections_share_none(make_masks, to_sparse):
    empty = to_sparse(make_masks(density=0.0))
    found = shared_connections(empty, empty)
    assert (found.overlap, found.intersection_over_union, found.chance_overlap) == (0, 0, 0)


def test_explored_connections_are_the_union_of_all_before(make_masks, to_sparse):
    history = [make_masks(seed=seed) for seed in (1, 2, 1, 3)]
    found = explored_connections(to_sparse(masks) for masks in history)
    seen = [np.zeros_like(mask) for mask in history[0]]
    for counts, masks in zip(found, history, strict=True):
        seen = [before | mask for before, mask in zip(seen, masks, strict=True)]
        assert counts.tolist() == [int(mask.sum()) for mask in seen]
    assert found[2].tolist() == found[1].tolist() != found[0].tolist()


def test_networks_of_other_widths_are_refused(make_masks, to_sparse):
    networks = [to_sparse(make_masks(widths)) for widths in ((5, 6, 7), (5, 6, 8))]
    with pytest.raises(InputError, match="5-6-7 and 5-6-8"):
        shared_connections(*networks)
    with pytest.raises(InputError, match="5-6-7 and 5-6-8"):
        explored_connections(networks)
