"""Patterns N:M of connections in groups of inputs, and what such connections say of a configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from hpc_sparse.config.layers import file_of
from hpc_sparse.network.connections.choice import FreeChoice

if TYPE_CHECKING:
    from hpc_sparse.config import LayerSection, RunConfig

LARGEST_GROUP = 256
"""Inputs of a group at most: a position within a group is one byte."""


@dataclass(frozen=True)
class GroupPattern:
    """A pattern N:M: every neuron is connected to exactly N of each M consecutive inputs.

    Where M does not divide the number of inputs, the last group has r < M of them, of which ceil(r N / M) are
    connected.

    Attributes
    ----------
    n : int
        N, connections in a group.
    m : int
        M, inputs in a group.
    is_transposable : bool
        Of each M consecutive neurons, counted from the first, at most N are connected to the same input.
    """

    n: int
    m: int
    is_transposable: bool = False

    @classmethod
    def parse(cls, text: str, *, is_transposable: bool = False) -> GroupPattern:
        """The pattern that a text such as "2:4" stands for.

        Raises
        ------
        ValueError
            It stands for none.
        """
        match = re.fullmatch(r"(\d{1,6}):(\d{1,6})", text)
        if match is None:
            raise ValueError('must be N:M, such as "2:4"')
        n, m = int(match[1]), int(match[2])
        if not 1 <= n <= m:
            raise ValueError("must be N:M with 1 <= N <= M")
        if m > LARGEST_GROUP:
            raise ValueError(f"must be N:M with M <= {LARGEST_GROUP}")
        return cls(n, m, is_transposable)

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    def n_groups(self, n_in: int) -> int:
        """Groups of each neuron."""
        return -(-n_in // self.m)

    def last_count(self, n_in: int) -> int:
        """Connections in the last group of each neuron."""
        n_rest = n_in - (self.n_groups(n_in) - 1) * self.m
        return -(-n_rest * self.n // self.m)

    def fan_in(self, n_in: int) -> int:
        """Connections of each neuron."""
        return (self.n_groups(n_in) - 1) * self.n + self.last_count(n_in)

    def check_inputs(self, n_in: int) -> None:
        """Check that a layer has inputs for at least one whole group, and for groups of either direction.

        Raises
        ------
        ValueError
            It has not.
        """
        if self.m > n_in:
            raise ValueError(f"groups of {self.m} inputs, but the layer has {n_in}")
        self.check_last_group(n_in)

    def check_last_group(self, n_in: int) -> None:
        """Check that the share of a last group of r inputs, r N / M, is a whole number where it has to be one.

        Raises
        ------
        ValueError
            It is not: with it rounded up, some input would get more than N of M neurons.
        """
        n_rest = n_in % self.m
        if self.is_transposable and n_rest * self.n % self.m:
            raise ValueError(
                f"the layer has {n_in} inputs, and of the last {n_rest} of them {n_rest} x {self.n} / {self.m} "
                f"connections are no whole number; expected a multiple of {self.m} inputs where it is transposable"
            )


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
        if chosen not in {"erdos_renyi", "constant_fan_in"} and not file_of(chosen):
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
