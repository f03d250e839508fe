"""Slopes of hidden activations, layer by layer."""

from __future__ import annotations

import pytest

from hpc_sparse.network.activations import negative_slopes


@pytest.mark.parametrize(
    ("name", "slopes"),
    [
        ("all_relu", [-0.6, 0.6, -0.6, 0.6]),
        ("relu", [0.0, 0.0, 0.0, 0.0]),
        ("leaky_relu", [0.6, 0.6, 0.6, 0.6]),
    ],
)
def test_slopes_by_layer(name, slopes):
    assert negative_slopes(name, 0.6, 4) == slopes
    assert negative_slopes(name, 0.6, 0) == []
