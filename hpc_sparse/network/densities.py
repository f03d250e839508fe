"""Density of each layer of connections, by a configuration."""

from __future__ import annotations

from itertools import pairwise

from hpc_sparse.config import NetworkSection
from hpc_sparse.config.layers import GroupPattern
from hpc_sparse.errors import ConfigError
from hpc_sparse.network.connections.initial_topology import erdos_renyi_densities
from hpc_sparse.network.connections.registry import CONNECTIONS
from hpc_sparse.network.connections.topology import erdos_renyi_density

MOST_DENSE = 0.5
"""Highest density of a layer of a source network, unless the network itself is denser."""


def densities(config: NetworkSection, widths: list[int]) -> list[float]:
    """Density of each layer of connections between layers of the given widths.

    Raises
    ------
    ConfigError
        A pattern has groups of more inputs than its layer.
    """
    wanted = _common_densities(config, widths)
    for number, (n_in, n_out) in enumerate(pairwise(widths[: len(config.hidden) + 1])):
        layer = config.layer(number)
        fixed = CONNECTIONS[layer.connections].fixed_density((n_out, n_in))
        if fixed is not None:
            wanted[number] = fixed
        elif layer.pattern is not None:
            wanted[number] = _pattern_density(number, layer.pattern, n_in)
        elif layer.density is not None:
            wanted[number] = layer.density
    return wanted


def _pattern_density(number: int, text: str, n_in: int) -> float:
    pattern = GroupPattern.parse(text)
    try:
        pattern.check_inputs(n_in)
    except ValueError as error:
        raise ConfigError(f'pattern = "{pattern}" of hidden layer {number}: {error}') from None
    return pattern.fan_in(n_in) / n_in


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
