"""Networks that a caller made: no index leads beyond an array."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse import analysis
from hpc_sparse.network.connections.topology import Topology

CALLS = [
    lambda network: analysis.topology_distance(network, network),
    lambda network: analysis.topology_distance(network, network, exact_width=2),
    lambda network: analysis.shared_connections(network, network),
    analysis.count_paths,
    analysis.find_reach,
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_a_matrix_with_an_index_beyond_its_shape_is_refused(call, kind):
    matrix = scipy.sparse.random_array((9, 7), density=0.4, format=kind, rng=np.random.default_rng(0))
    (matrix.coords[1] if kind == "coo" else matrix.indices)[3] = 1_000_000
    with pytest.raises(ValueError, match=r"layer 0: (indices|col): 1000000 in (row|column) \d+: must be >= 0 and < "):
        call([matrix])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("indptr", "indices", "message"),
    [
        ([0, 1, 2], [3, 90], "layer 0: indices: 90 in row 1: must be >= 0 and < 9"),
        ([0, 2, 2], [3, 3], "layer 0: indices: 3 follows 3 in row 0"),
        ([0, 5, 2], [1, 2], "layer 0: indptr: falls from 5 to 2"),
        ([0, 2], [1, 2], "layer 0: indptr: 2 numbers: must be 3"),
        ([0, 1, 2], [1.0, 2.0], r"layer 0: indices: float64\[2\]: expected whole numbers"),
    ],
)
def test_a_topology_that_is_not_sound_is_refused(call, indptr, indices, message):
    with pytest.raises(ValueError, match=message):
        call([Topology((2, 9), np.array(indptr, np.int32), np.array(indices))])


def test_what_is_no_sequence_of_layers_is_refused():
    for given in (3, None, scipy.sparse.eye_array(3)):
        with pytest.raises(ValueError, match="expected a Network or a sequence of its layers"):
            analysis.find_reach(given)
