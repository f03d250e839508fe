"""Learned arrays of a layer, by name."""

from __future__ import annotations

from typing import NamedTuple

from hpc_sparse.dtypes import Float32Array


class Parameter(NamedTuple):
    """One learned array.

    Attributes
    ----------
    values : float32[n]
    connections : str or None
        Name of the layer's connections whose units the values belong to, in their order; None: values of the output
        neurons, one or several for each.
    decays : bool
        Whether weight decay applies.
    """

    values: Float32Array
    connections: str | None
    decays: bool
