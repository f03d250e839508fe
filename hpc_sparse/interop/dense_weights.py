"""The weights of a dense network that another program trained, from an archive of plain arrays: a chain of layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from hpc_sparse.checks import check_finite
from hpc_sparse.dtypes import VALUE, AnyArray, Float64Array
from hpc_sparse.errors import DataError, MachineError, quoted
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.network.connections.protocol import INPUT

Layout = Literal["auto", "torch", "keras"]

STATISTICS = ("mean", "deviation")
"""Arrays that are no weights: what the features were standardised with."""


@dataclass(frozen=True)
class DenseMap:
    """One map of a layer of another program: ``weight`` float[n_out, n_in], ``bias`` float[n_out]."""

    weight: AnyArray
    bias: AnyArray


@dataclass(frozen=True)
class DenseWeights:
    """A dense network.

    Attributes
    ----------
    layers : list of dict of str to DenseMap
        First to last; the maps of each by the names that its kind of layer has for them.
    mean, deviation : float64[n_features] or None
        The network takes ``(features - mean) / deviation``; None if the archive does not say.
    """

    layers: list[Mapping[str, DenseMap]]
    mean: Float64Array | None
    deviation: Float64Array | None


def read_arrays(path: Path) -> dict[str, AnyArray]:
    """The arrays of an .npz archive or a .safetensors file, by name; nothing is ever unpickled.

    Raises
    ------
    DataError
        It is neither, or damaged.
    MachineError
        The library for .safetensors is not installed.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return Archive(path).arrays


def dense_weights(path: Path, arrays: dict[str, AnyArray], widths: list[int], layout: Layout) -> DenseWeights:
    """The network among the arrays of a file.

    Matrices and vectors are taken in the order of their names, with numbers in names sorted by value. This fits
    ``model.get_weights()`` of Keras saved by ``numpy.savez``, and the ``state_dict()`` of a ``torch.nn.Sequential``.

    Parameters
    ----------
    path : Path
        For messages.
    arrays : dict
    widths : list of int
        Neurons per layer that the network must have, from the input to the output.
    layout : {"auto", "torch", "keras"}
        Rows of the matrices are outputs (torch) or inputs (keras); auto: as the widths tell.

    Raises
    ------
    DataError
        The arrays are not those of such a network.
    """
    shown = "-".join(str(width) for width in widths)
    shapes = [(n_out, n_in) for n_in, n_out in pairwise(widths)]
    layers = chain_of_maps(path, arrays, shapes, layout, f"the layers of a network {shown}")
    return DenseWeights([{INPUT: layer} for layer in layers], *read_statistics(path, arrays, widths[0]))


def chain_of_maps(
    path: Path, arrays: dict[str, AnyArray], shapes: Sequence[tuple[int, int]], layout: Layout, expected: str
) -> list[DenseMap]:
    """A matrix of each of the shapes (n_out, n_in), with its bias, in the order of their names.

    Raises
    ------
    DataError
        The arrays are others; the message ends with ``expected``.
    """
    names = sorted((name for name in arrays if name not in STATISTICS), key=natural)
    matrices = [name for name in names if arrays[name].ndim == 2]
    vectors = [name for name in names if arrays[name].ndim == 1]
    found = listed(arrays)
    if len(matrices) + len(vectors) < len(names) or len(vectors) not in {0, len(matrices)}:
        raise DataError(f"{path}: arrays {found}: expected a matrix and a bias for each layer, and nothing else")
    own = [arrays[name].shape for name in matrices]
    is_keras = _chosen_layout(path, own, shapes, layout, f"arrays {found}: expected {expected}") == "keras"
    layers = []
    for number, name in enumerate(matrices):
        weight = arrays[name].T if is_keras else arrays[name]
        bias = arrays[vectors[number]] if vectors else np.zeros(weight.shape[0], np.float32)
        if bias.shape != weight.shape[:1]:
            raise DataError(f"{path}: {quoted(vectors[number])} {list(bias.shape)}: expected [{weight.shape[0]}]")
        weight = checked_numbers(f"{path}: {quoted(name)}", weight)
        layers.append(DenseMap(weight, checked_numbers(f"{path}: bias {number}", bias)))
    return layers


def read_statistics(
    path: Path, arrays: dict[str, AnyArray], n_features: int, n_places: int = 1
) -> tuple[Float64Array | None, Float64Array | None]:
    """Mean and deviation of features, float64[n_features] each, or None: one number, those of a place, or of all.

    Raises
    ------
    DataError
        They are of other shapes, or a deviation is not positive.
    """
    mean, deviation = (_statistic(path, arrays, name, n_features, n_places) for name in STATISTICS)
    if deviation is not None and not (deviation > 0).all():
        raise DataError(f"{path}: deviation: must be > 0 everywhere")
    return mean, deviation


def listed(arrays: Mapping[str, AnyArray]) -> str:
    """Names and shapes of arrays, for messages."""
    names = sorted((name for name in arrays if name not in STATISTICS), key=natural)
    return ", ".join(f"{quoted(name)} {list(arrays[name].shape)}" for name in names) or "none"


def checked_numbers(where: str, values: AnyArray) -> AnyArray:
    """The values, which are real numbers and finite as float32.

    Raises
    ------
    DataError
        They are not.
    """
    if values.dtype.kind not in "iuf":
        raise DataError(f"{where}: dtype {values.dtype}: expected real numbers")
    with np.errstate(over="ignore"):
        check_finite(where, values.astype(VALUE, copy=False), error=DataError)
    return values


def natural(name: str) -> list[tuple[int, str]]:
    """Key by which ``fc2`` comes before ``fc10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _chosen_layout(
    path: Path, found: list[tuple[int, ...]], shapes: Sequence[tuple[int, int]], layout: Layout, refusal: str
) -> Literal["torch", "keras"]:
    fits = {"torch": found == list(shapes), "keras": found == [shape[::-1] for shape in shapes]}
    if layout == "auto" and all(fits.values()) and found:
        raise DataError(f"{path}: all matrices are square: say --layout torch (rows are outputs) or --layout keras")
    for name in ("torch", "keras"):
        if fits[name] and layout in {"auto", name}:
            return "torch" if name == "torch" else "keras"
    raise DataError(f"{path}: {refusal} (layout {layout})")


def _statistic(
    path: Path, arrays: dict[str, AnyArray], name: str, n_features: int, n_places: int
) -> Float64Array | None:
    if name not in arrays:
        return None
    values = checked_numbers(f"{path}: {name}", arrays[name]).astype(np.float64)
    n_of_place = n_features // n_places
    if values.shape == (n_of_place,):
        values = np.tile(values, n_places)
    if values.shape not in {(), (n_features,)}:
        of_place = "" if n_places == 1 else f", or [{n_of_place}], those of a step"
        raise DataError(f"{path}: {name} {list(values.shape)}: expected [{n_features}], one per feature{of_place}")
    return np.broadcast_to(values, n_features)


def _read_safetensors(path: Path) -> dict[str, AnyArray]:
    try:
        from safetensors import SafetensorError  # noqa: PLC0415  (an extra)
        from safetensors.numpy import load_file  # noqa: PLC0415
    except ImportError as error:
        raise MachineError(f"{path}: needs the package safetensors: pip install 'hpc-sparse[interop]'") from error
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read as safetensors: {quoted(str(error))}") from error
