"""Connections as a file holds them: numbers, texts and arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy.typing as npt

from hpc_sparse.dtypes import AnyArray

Setting: TypeAlias = int | float | str
"""Value of a setting in a file."""


class StoredSize(NamedTuple):
    """Type and number of the items of a stored array."""

    dtype: npt.DTypeLike
    n_items: int


class StoredSizes(NamedTuple):
    """Sizes of what is stored of connections.

    Attributes
    ----------
    structure : dict of str to StoredSize
        The arrays that say which units there are.
    n_values : int
        Weights of all units.
    """

    structure: Mapping[str, StoredSize]
    n_values: int


@dataclass(frozen=True)
class ConnectionState:
    """Connections without their weights, which are a parameter of the layer.

    Attributes
    ----------
    kind : str
        A key of :data:`hpc_sparse.network.connections.registry.CONNECTIONS`.
    shape : (n_out, n_in)
        In neurons.
    n_units : int
        Units that are stored.
    structure : dict of str to array
        The arrays that say which ones.
    settings : dict of str to number or text
        Beyond what the configuration says.
    """

    kind: str
    shape: tuple[int, int]
    n_units: int
    structure: Mapping[str, AnyArray]
    settings: Mapping[str, Setting] = field(default_factory=dict)
