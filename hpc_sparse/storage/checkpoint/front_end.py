"""The arrays of front ends in a checkpoint: what was learnt of the features in which a network was trained.

In memory an array's name is ``front end/array``. Format 3 has statistics of dense features in a group of their own,
``statistics``, and all else by its name below ``front_end``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import VALUE, AnyArray, Float32Array, Int32Array
from hpc_sparse.errors import FileFormatError
from hpc_sparse.storage.checkpoint.layer_state import write_even_parts
from hpc_sparse.storage.checkpoint.neuron_ids import NEURONS
from hpc_sparse.storage.container.checks import check_finite, check_positive
from hpc_sparse.storage.container.reader import ContainerReader
from hpc_sparse.storage.container.writer import ContainerWriter

GROUP = "front_end"
MEAN, DEVIATION = "standardize/mean", "standardize/deviation"
PLACES = {MEAN: "statistics/mean", DEVIATION: "statistics/deviation"}
"""Where format 3 has arrays that are not below the group."""

NUMBERS = "fiub"
"""Kinds of dtypes that an array may have."""


def statistics_arrays(mean: Float32Array | None, deviation: Float32Array | None) -> dict[str, AnyArray]:
    """Arrays of features' means and deviations (float32[n_features] each) by their names; {} without them."""
    return {} if mean is None or deviation is None else {MEAN: mean, DEVIATION: deviation}


def write_front_end(writer: ContainerWriter, arrays: Mapping[str, AnyArray]) -> None:
    """Write the arrays, which every rank holds whole (collective)."""
    for name in sorted(arrays):
        write_even_parts(writer, _place(name), arrays[name])


def read_front_end(reader: ContainerReader, n_inputs: int, input_ids: Int32Array | None) -> dict[str, AnyArray]:
    """The arrays; those of statistics have as many features as inputs, or more where some were removed (collective)."""
    arrays: dict[str, AnyArray] = {}
    n_features = n_inputs if input_ids is None else None
    for name, place in PLACES.items():
        if reader.has(place):
            (n_features,) = reader.require(place, VALUE, (n_features,))
            arrays[name] = reader.read(place)
    if 0 < len(arrays) < len(PLACES):
        reader.fail("statistics: only one of mean and deviation: expected both or none")
    if arrays and input_ids is not None and n_features is not None and input_ids.max() >= n_features:
        reader.fail(f"{NEURONS}/0000: input {input_ids.max()}: must be < {n_features}, the features of statistics")
    for kind in reader.names(GROUP) if reader.has(GROUP) else []:
        for own in reader.names(f"{GROUP}/{kind}"):
            name = f"{kind}/{own}"
            if name in PLACES:
                reader.fail(f"{GROUP}/{name}: expected in {PLACES[name]}")
            if (dtype := reader.dtype(_place(name))).kind not in NUMBERS:
                reader.fail(f"{_place(name)}: {dtype}: expected numbers")
            arrays[name] = reader.read(_place(name))
    return arrays


def check_front_end(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Check arrays that were read: finite numbers, deviations above 0 (FileFormatError)."""
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating):
            check_finite(f"{path}: {_place(name)}", array, error=FileFormatError)
    if DEVIATION in arrays:
        check_positive(f"{path}: {_place(DEVIATION)}", arrays[DEVIATION], error=FileFormatError)


def _place(name: str) -> str:
    """The name of an array in the file."""
    return PLACES.get(name, f"{GROUP}/{name}")
