"""How far a network is to shrink while it trains, from the densities that it begins and ends with."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.errors import ConfigError
from hpc_sparse.network.blueprint import blueprints
from hpc_sparse.network.layers.registry import LAYERS


def initial_size(config: RunConfig, widths: list[int], n_places: int = 1) -> tuple[float, float]:
    """What the layers that evolve have together in a new network, and what is to be left of it in the end.

    ``widths`` and ``n_places``, those of each sample, are the network's.

    Returns
    -------
    n_connections : float
        Expected.
    at_end : float
        Share of them that is left in the end; 1 if nothing is to go.

    Raises
    ------
    ConfigError
        They begin with fewer connections than they are to end with.
    """
    hidden = blueprints(config.network, widths[0], widths[-1], n_places=n_places)[:-1]
    maps = [own for layer in hidden for own in LAYERS[layer.kind].maps(layer).values()]
    n_possible = [own.n_possible for own in maps]
    n_connections = sum(own.density * n for own, n in zip(maps, n_possible, strict=True))
    final = config.evolution.final_density
    if final is None or not n_possible:
        return n_connections, 1.0
    initial = n_connections / sum(n_possible)
    if final >= initial:
        raise ConfigError(
            f"evolution.final_density = {final}: must be below the density that the layers that evolve begin with, "
            f"{initial:.4g}"
        )
    return n_connections, final / initial
