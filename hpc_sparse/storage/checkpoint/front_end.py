"""The arrays of front ends in a checkpoint: what was learnt of the features in which a network was trained.

In memory an array's name is ``front end/array``, and so it is in format 4, below ``front_end``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hpc_sparse.checks import check_finite, check_positive
from hpc_sparse.dtypes import VALUE, AnyArray, Float32Array, Int32Array
from hpc_sparse.errors import FileFormatError
from hpc_sparse.storage.checkpoint.contents import Contents
from hpc_sparse.storage.checkpoint.layer_arrays import write_even_parts
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

MEAN, DEVIATION = "standardize/mean", "standardize/deviation"
"""Names of the statistics of dense features."""

NUMBERS = "fiub"
"""Kinds of dtypes that an array may have."""


def statistics_arrays(mean: Float32Array | None, deviation: Float32Array | None) -> dict[str, AnyArray]:
    """Arrays of features' means and deviations (float32[n_features] each) by their names; {} without them."""
    return {} if mean is None or deviation is None else {MEAN: mean, DEVIATION: deviation}


def write_front_end(writer: ContainerWriter, places: Mapping[str, str], arrays: Mapping[str, AnyArray]) -> None:
    """Write the arrays, which every rank holds whole (collective)."""
    for name, place in places.items():
        write_even_parts(writer, place, arrays[name])


def read_front_end(reader: ContainerReader, contents: Contents, input_ids: Int32Array | None) -> dict[str, AnyArray]:
    """The arrays; those of statistics have as many features as inputs, or more where some were removed (collective)."""
    places = contents.front_end
    arrays: dict[str, AnyArray] = {}
    n_features = contents.n_features if input_ids is None else None
    for name in (MEAN, DEVIATION):
        if name in places:
            (n_features,) = reader.require(places[name], VALUE, (n_features,))
            arrays[name] = reader.read(places[name])
    if len(arrays) == 1:
        group = next(places[name] for name in arrays).rpartition("/")[0]
        reader.fail(f"{group}: only one of mean and deviation: expected both or none")
    if arrays and input_ids is not None and n_features is not None and input_ids.max() >= n_features:
        reader.fail(
            f"{contents.neuron_ids[0]}: input {input_ids.max()}: must be < {n_features}, the features of statistics"
        )
    for name, place in places.items():
        if name not in arrays:
            if reader.dtype(place).kind not in NUMBERS:
                reader.fail(f"{place}: is {reader.dtype(place)}: expected numbers")
            arrays[name] = reader.read(place)
    return arrays


def check_front_end(path: str, places: Mapping[str, str], arrays: Mapping[str, AnyArray]) -> None:
    """Check arrays that were read: finite numbers, deviations above 0 (FileFormatError)."""
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating):
            check_finite(f"{path}: {places[name]}", array, error=FileFormatError)
    if DEVIATION in arrays:
        check_positive(f"{path}: {places[DEVIATION]}", arrays[DEVIATION], error=FileFormatError)
