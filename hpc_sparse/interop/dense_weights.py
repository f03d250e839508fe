"""The weights of a dense multilayer perceptron that another program trained, from an archive of plain arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from hpc_sparse.checks import check_finite
from hpc_sparse.dtypes import AnyArray, Float64Array
from hpc_sparse.errors import DataError, MachineError, quoted
from hpc_sparse.importers.arrays.archive import Archive

Layout = Literal["auto", "torch", "keras"]

STATISTICS = ("mean", "deviation")
"""Arrays that are no weights: what the features were standardised with."""


@dataclass(frozen=True)
class DenseLayer:
    """One layer of another program: ``weight`` float[n_out, n_in], ``bias`` float[n_out]."""

    weight: AnyArray
    bias: AnyArray


@dataclass(frozen=True)
class DenseWeights:
    """A dense network.

    Attributes
    ----------
    layers : list of DenseLayer
        First to last.
    mean, deviation : float64 array or None
        The network takes ``(features - mean) / deviation``; None if the archive does not say.
    """

    layers: list[DenseLayer]
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
    names = sorted((name for name in arrays if name not in STATISTICS), key=_natural)
    matrices = [name for name in names if arrays[name].ndim == 2]
    vectors = [name for name in names if arrays[name].ndim == 1]
    found = ", ".join(f"{quoted(name)} {list(arrays[name].shape)}" for name in names) or "none"
    if len(matrices) + len(vectors) < len(names) or len(vectors) not in {0, len(matrices)}:
        raise DataError(f"{path}: arrays {found}: expected a matrix and a bias for each layer, and nothing else")
    is_keras = _chosen_layout(path, [arrays[name].shape for name in matrices], widths, layout, found) == "keras"
    layers = []
    for number, name in enumerate(matrices):
        weight = arrays[name].T if is_keras else arrays[name]
        bias = arrays[vectors[number]] if vectors else np.zeros(weight.shape[0], np.float32)
        if bias.shape != weight.shape[:1]:
            raise DataError(f"{path}: {quoted(vectors[number])} {list(bias.shape)}: expected [{weight.shape[0]}]")
        layers.append(DenseLayer(_numbers(f"{path}: {quoted(name)}", weight), _numbers(f"{path}: bias {number}", bias)))
    mean, deviation = (_statistic(path, arrays, name, widths[0]) for name in STATISTICS)
    if deviation is not None and not (deviation > 0).all():
        raise DataError(f"{path}: deviation: must be > 0 everywhere")
    return DenseWeights(layers, mean, deviation)


def _chosen_layout(
    path: Path, shapes: list[tuple[int, ...]], widths: list[int], layout: Layout, found: str
) -> Literal["torch", "keras"]:
    as_keras, as_torch = list(pairwise(widths)), [(n_out, n_in) for n_in, n_out in pairwise(widths)]
    fits = {"torch": shapes == as_torch, "keras": shapes == as_keras}
    if layout == "auto" and all(fits.values()):
        raise DataError(f"{path}: all matrices are square: say --layout torch (rows are outputs) or --layout keras")
    for name in ("torch", "keras"):
        if fits[name] and layout in {"auto", name}:
            return "torch" if name == "torch" else "keras"
    shown = "-".join(str(width) for width in widths)
    raise DataError(f"{path}: arrays {found}: expected the layers of a network {shown} (layout {layout})")


def _statistic(path: Path, arrays: dict[str, AnyArray], name: str, n_features: int) -> Float64Array | None:
    if name not in arrays:
        return None
    values = _numbers(f"{path}: {name}", arrays[name]).astype(np.float64)
    if values.shape not in {(), (n_features,)}:
        raise DataError(f"{path}: {name} {list(values.shape)}: expected [{n_features}], one per feature")
    return np.broadcast_to(values, n_features)


def _numbers(where: str, values: AnyArray) -> AnyArray:
    if values.dtype.kind not in "iuf":
        raise DataError(f"{where}: dtype {values.dtype}: expected real numbers")
    check_finite(where, values, error=DataError)
    return values


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts ``fc2`` before ``fc10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


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
