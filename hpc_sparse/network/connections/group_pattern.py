"""Patterns N:M of connections in groups of inputs."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
