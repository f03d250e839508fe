"""Density of each layer of connections, by a configuration."""

from __future__ import annotations

from itertools import pairwise

from hpc_sparse.config import NetworkSection
from hpc_sparse.network.connections.initial_topology import erdos_renyi_densities
from hpc_sparse.network.connections.topology import erdos_renyi_density

MOST_DENSE = 0.5
"""Highest density of a layer of a source network, unless the network itself is denser."""


def densities(config: NetworkSection, widths: list[int]) -> list[float]:
    """Density of each layer of connections between layers of the given widths."""
    wanted = _common_densities(config, widths)
    for number, n_in in enumerate(widths[: len(config.hidden)]):
        layer = config.layer(number)
        own = layer.kind_of_connections.density_of(layer, n_in)
        wanted[number] = wanted[number] if own is None else own
    return wanted


def _common_densities(config: NetworkSection, widths: list[int]) -> list[float]:
    """As the network's own keys have it."""
    if config.density is not None:
        if config.budget == "erdos_renyi":
            return erdos_renyi_densities(config.density, widths)
        return [config.density] * (len(widths) - 1)
    assert config.epsilon is not None
    return [erdos_renyi_density(config.epsilon, n_in, n_out) for n_in, n_out in pairwise(widths)]


def source_densities(config: NetworkSection, widths: list[int]) -> list[float]:
    """Density of each layer of the source network whose connections are candidates for those of the network."""
    wanted = densities(config, widths)
    return [max(density, min(MOST_DENSE, config.source_ratio * density)) for density in wanted]
