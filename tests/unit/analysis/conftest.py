"""Small networks for the analysis, and what NumPy makes of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse

from hpc_sparse.network.connections.topology import Topology

Matrices = list[np.ndarray]


@pytest.fixture
def make_masks() -> Callable[..., Matrices]:
    """Make the dense 0/1 matrices (n_in, n_out) of a random network."""

    def make(widths: tuple[int, ...] = (17, 23, 11, 4), density: float = 0.2, seed: int = 0) -> Matrices:
        rng = np.random.default_rng(seed)
        return [(rng.random(shape) < density).astype(np.int64) for shape in pairwise(widths)]

    return make


@pytest.fixture
def to_sparse() -> Callable[[Matrices], list[scipy.sparse.csr_array]]:
    """The same as SciPy matrices."""
    return lambda masks: [scipy.sparse.csr_array(mask) for mask in masks]


@pytest.fixture
def to_topologies() -> Callable[[Matrices], list[Topology]]:
    """The same as topologies, made from their keys."""
    return lambda masks: [
        Topology.from_keys((mask.shape[1], mask.shape[0]), np.flatnonzero(mask.T).astype(np.int64)) for mask in masks
    ]
