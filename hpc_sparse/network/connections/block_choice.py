"""What connections in blocks say of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from hpc_sparse.config.layers import CHOSEN_BY_DATA
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.network.connections.choice import FreeChoice

if TYPE_CHECKING:
    from hpc_sparse.config import LayerSection, RunConfig


class BlockChoice(FreeChoice):
    """Blocks have a key for their size; what chooses single connections or neurons does not go together with them."""

    keys: ClassVar[Mapping[str, object]] = MappingProxyType({"block": (16, 16)})

    @classmethod
    def unit_of(cls, section: LayerSection) -> tuple[int, int]:
        """A block."""
        assert section.block is not None
        return section.block

    @classmethod
    def refuses_shape(cls, shape: tuple[int, int], section: LayerSection) -> str | None:
        """A block that is larger than the layer."""
        (n_out, n_in), (r, c) = shape, cls.unit_of(section)
        if r <= n_out and c <= n_in:
            return None
        return (
            f"block = [{r}, {c}]: larger than the layer of {n_in} x {n_out} neurons; expected at most [{n_out}, {n_in}]"
        )

    @classmethod
    def refuses(cls, config: RunConfig) -> Iterator[str]:
        """What is about single connections or neurons, unless a block is one."""
        network, pruning = config.network, config.importance_pruning
        if not network.has_units:
            return
        if network.initial_topology in CHOSEN_BY_DATA:
            yield (
                f'network.initial_topology = "{network.initial_topology}": chooses single connections, not blocks; use '
                '"erdos_renyi", "constant_fan_in" or "lognormal_fan_in"'
            )
        if pruning.mode != "off":
            yield (
                f'importance_pruning.mode = "{pruning.mode}": not with connections in blocks, which hold several '
                "neurons"
            )
        strategy = STRATEGIES[config.evolution.strategy]
        if not getattr(strategy, "decides_on_units", True):
            yield (
                f'evolution.strategy = "{strategy.name}": decides about single connections, not blocks; use "set", '
                '"gse", "rigl", "snfs", "deep_r", "srigl" or "static"'
            )
