"""What connections in groups of inputs say of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from hpc_sparse.network.connections.choice import FreeChoice
from hpc_sparse.network.connections.group_pattern import GroupPattern

if TYPE_CHECKING:
    from hpc_sparse.config import LayerSection, RunConfig


class GroupChoice(FreeChoice):
    """Groups have keys for their pattern; what would break groups does not go together with them."""

    keys: ClassVar[Mapping[str, object]] = MappingProxyType({"pattern": None, "transposable": False})
    small_keys: ClassVar[Mapping[str, object]] = MappingProxyType({"pattern": "1:2", "transposable": False})
    in_groups: ClassVar[bool] = True

    @classmethod
    def refuses_shape(cls, shape: tuple[int, int], section: LayerSection) -> str | None:
        """Groups of more inputs than there are."""
        try:
            pattern_of_section(section).check_inputs(shape[1])
        except ValueError as error:
            return f'pattern = "{section.pattern}": {error}'
        return None

    @classmethod
    def density_of(cls, section: LayerSection, n_in: int) -> float:
        """Exactly what the pattern says."""
        return pattern_of_section(section).fan_in(n_in) / n_in

    @classmethod
    def keys_like(cls, section: LayerSection) -> Mapping[str, object]:
        """The same pattern, whose transpose may have another: shapes are free, and the kernels the same."""
        return {"pattern": section.pattern, "transposable": False}

    @classmethod
    def refuses_section(cls, section: LayerSection) -> str | None:
        """No pattern, one that is none, and a density beside it."""
        if section.pattern is None:
            return f'connections = "{cls.kind}" needs pattern, such as "2:4"'
        try:
            GroupPattern.parse(section.pattern)
        except ValueError as error:
            return f'pattern = "{section.pattern}": {error}'
        if section.density is not None:
            return f'density = {section.density}: pattern = "{section.pattern}" says how many there are'
        return None

    @classmethod
    def refuses(cls, config: RunConfig) -> Iterator[str]:
        """What would break groups, of which each keeps its number of connections."""
        chosen, evolution, pruning = config.network.initial_topology, config.evolution, config.importance_pruning
        if chosen not in {"erdos_renyi", "constant_fan_in"}:
            yield (
                f'network.initial_topology = "{chosen}": not with connections = "{cls.kind}", whose groups get their '
                'connections at random; use "erdos_renyi"'
            )
        if evolution.final_density is not None:
            yield f'evolution.final_density = {evolution.final_density}: not with connections = "{cls.kind}", all stay'
        if pruning.mode != "off":
            yield f'importance_pruning.mode = "{pruning.mode}": not with connections = "{cls.kind}": it breaks groups'
        if not any(config.network.layer(number).transposable for number in range(len(config.network.hidden))):
            return
        if evolution.strategy != "static":
            yield f'evolution.strategy = "{evolution.strategy}": not with transposable = true, all stay; use "static"'
        if config.parallel.replica_topology == "independent":
            yield 'parallel.replica_topology = "independent": not with transposable = true, whose union has more'


def pattern_of_section(section: LayerSection | None) -> GroupPattern:
    """The pattern that a configuration gives a layer."""
    assert section is not None
    assert section.pattern is not None
    return GroupPattern.parse(section.pattern, is_transposable=bool(section.transposable))
