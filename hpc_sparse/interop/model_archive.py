"""A network as a NumPy archive (.npz) that needs nothing but NumPy to be read.

- ``format``, ``format_version``: identity of the format.
- ``config``, ``epoch``, ``output``: configuration (TOML), epochs trained, output activation.
- ``layer_0.data``, ``.indices``, ``.indptr``, ``.shape``: weights as SciPy's CSR, (n_out, n_in); layers from 0.
- ``layer_0.bias``, ``layer_0.slope``: biases; slope of the activation below zero.
- ``mean``, ``deviation``, optional: statistics of the training features.
- ``neurons_0`` and so on, optional: original numbers of remaining neurons, inputs first.
- ``front_end.vocabulary/names`` and so on, optional: what front ends know that change nothing, as in checkpoints.

Layers of other kinds than ``sparse`` are described in :mod:`hpc_sparse.interop.layer_archive`. Any front end but
standardisation and chosen features is folded into the first layer and left out of the configuration. Weights of terms
are left out, so that samples are weighted counts, as in the data set.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hpc_sparse.checks import check_finite, check_ids, check_positive
from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Float32Array, Int32Array, pointer_dtype
from hpc_sparse.errors import DataError, NewerFormatError, quoted
from hpc_sparse.evolution import state_types
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.inference import TrainedModel
from hpc_sparse.interop.front_end import ExportedNetwork
from hpc_sparse.interop.layer_archive import ABOUT, layer_arrays, read_layer
from hpc_sparse.network.activations import OUTPUT_ACTIVATION
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.optimizers.state import arrays_at_rest
from hpc_sparse.storage.checkpoint.front_end import NUMBERS, statistics_arrays
from hpc_sparse.storage.checkpoint.layer_arrays import check_layer
from hpc_sparse.storage.checkpoint.state import Checkpoint

FORMAT = "hpc_sparse.model"
FORMAT_VERSIONS = (1, 2)
"""Version 2 has layers of other kinds than ``sparse``."""

STATISTICS = ("mean", "deviation")
FRONT_END = "front_end."
"""Before the names of arrays of front ends that change nothing."""


def to_arrays(model: TrainedModel) -> dict[str, AnyArray]:
    """Arrays of an archive by name: all that predictions depend on.

    Raises
    ------
    InputError
        The network has a front end that the archive cannot say.
    """
    exported = ExportedNetwork.of(model)
    is_sparse_alone = all(_is_matrix(layer) for layer in exported.layers)
    arrays: dict[str, AnyArray] = {
        "format": np.array(FORMAT),
        "format_version": np.array(FORMAT_VERSIONS[0 if is_sparse_alone else 1], OFFSET),
        "config": np.array(exported.config.to_toml()),
        "epoch": np.array(model.epoch, OFFSET),
        "output": np.array(model.output),
    }
    if exported.standardise is not None:
        arrays |= exported.standardise.arrays()
    arrays |= {f"{FRONT_END}{name}": values for name, values in exported.kept.arrays().items()}
    for number, layer in enumerate(exported.layers):
        arrays |= {f"layer_{number}.{name}": values for name, values in _layer_arrays(layer).items()}
    for number, ids in enumerate([exported.chosen, *model.network.neuron_ids[1:]]):
        if ids is not None:
            arrays[f"neurons_{number}"] = ids
    return arrays


def is_model(arrays: dict[str, AnyArray]) -> bool:
    """Whether the arrays of a file say that it is one of ours."""
    return "format" in arrays and arrays["format"].ndim == 0 and str(arrays["format"]) == FORMAT


def read_model(archive: Archive) -> Checkpoint:
    """A checkpoint of the network in an archive, with an optimiser at rest.

    Raises
    ------
    DataError, FileFormatError, ConfigError
        Something is missing, of another shape than it should be, or no network.
    """
    path = archive.path
    if (version := _integer(archive, "format_version")) not in FORMAT_VERSIONS:
        newest = FORMAT_VERSIONS[-1]
        raise NewerFormatError(f"{path}: format_version = {version}: this hpc_sparse reads versions up to {newest}")
    config = parse_config(archive.text("config"), f"configuration stored in {path}")
    layers = tuple(
        replace(layer, states=arrays_at_rest(layer.parameters, state_types(config)))
        for layer in (_layer(archive, number, config) for number in range(len(config.network.hidden) + 1))
    )
    widths = [layers[0].shape[1], *(layer.shape[0] for layer in layers)]
    neuron_ids = tuple(_neuron_ids(archive, number, width) for number, width in enumerate(widths))
    n_inputs = widths[0] * max(layer.n_places for layer in layers)
    mean, deviation = _statistics(archive, n_inputs, neuron_ids[0])
    return Checkpoint(
        config_text=config.to_toml(),
        epoch=_integer(archive, "epoch"),
        step=0,
        n_ranks=1,
        layers=layers,
        metrics={},
        history_best=None,
        front_end={**statistics_arrays(mean, deviation), **_kept(archive)},
        neuron_ids=() if all(ids is None for ids in neuron_ids) else neuron_ids,
    )


def _is_matrix(layer: Layer) -> bool:
    """Whether a layer is a matrix in compressed rows, which takes as much as the layer itself, with biases."""
    return isinstance(layer, SparseLayer) and layer.incoming.values_per_unit == 1


def _layer_arrays(layer: Layer) -> dict[str, AnyArray]:
    if not _is_matrix(layer):
        return layer_arrays(layer)
    assert isinstance(layer, SparseLayer)
    matrix = layer.incoming.to_csr()
    return {
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.array(matrix.shape, OFFSET),
        "bias": layer.bias,
        "slope": np.array(layer.slope, VALUE),
    }


def _layer(archive: Archive, number: int, config: RunConfig) -> LayerState:
    """One layer, checked: kernels rely on its indices."""
    name = f"layer_{number}"
    n_out, n_in = archive.shape(f"{name}.shape", 2)
    n_before = archive.shape(f"layer_{number - 1}.shape", 2)[0] if number else n_in
    if min(n_out, n_in) < 1 or n_in != n_before:
        raise DataError(
            f"{archive.where(name)}.shape = {n_out} x {n_in}: expected n_out x {n_before or 'n_in'} neurons"
        )
    is_last = number == len(config.network.hidden)
    if f"{name}.{ABOUT}" in archive:
        return read_layer(archive, number, (n_out, n_in), config.network, is_last=is_last)
    weight = archive.vector(f"{name}.data", VALUE)
    state = LayerState.sparse(
        shape=(n_out, n_in),
        activation=OUTPUT_ACTIVATION if is_last else config.network.activation_of(number),
        indptr=archive.vector(f"{name}.indptr", pointer_dtype(weight.size), n_out + 1),
        indices=archive.vector(f"{name}.indices", INDEX, weight.size),
        weight=weight,
        bias=archive.vector(f"{name}.bias", VALUE, n_out),
    )
    check_layer(state, lambda array: f"{archive.where(name)}/{array.rpartition('/')[2]}")
    return state


def _neuron_ids(archive: Archive, number: int, width: int) -> Int32Array | None:
    name = f"neurons_{number}"
    if name not in archive:
        return None
    ids = archive.vector(name, INDEX, width)
    check_ids(archive.where(name), ids, error=DataError)
    return ids


def _statistics(
    archive: Archive, n_inputs: int, inputs: Int32Array | None
) -> tuple[Float32Array | None, Float32Array | None]:
    """Mean and deviation of the features: as many as inputs, or more where some were removed."""
    if not any(name in archive for name in STATISTICS):
        return None, None
    n_features = n_inputs if inputs is None else archive.array("mean").size
    mean, deviation = (archive.vector(name, VALUE, n_features) for name in STATISTICS)
    if inputs is not None and inputs[-1] >= n_features:
        raise DataError(f"{archive.where('neurons_0')}: {inputs[-1]}: must be < {n_features}, the features of mean")
    for name, values in (("mean", mean), ("deviation", deviation)):
        check_finite(archive.where(name), values, error=DataError)
    check_positive(archive.where("deviation"), deviation, error=DataError)
    return mean, deviation


def _kept(archive: Archive) -> dict[str, AnyArray]:
    """Arrays of the front ends that change nothing."""
    arrays = {name: values for name, values in archive.arrays.items() if name.startswith(FRONT_END)}
    for name, values in arrays.items():
        if values.dtype.kind not in NUMBERS:
            raise DataError(f"{archive.where(name)}: {values.dtype}: expected numbers")
    return {name.removeprefix(FRONT_END): values for name, values in arrays.items()}


def _integer(archive: Archive, name: str) -> int:
    values = archive.array(name)
    if values.ndim or values.dtype.kind not in "iu" or values < 0:
        raise DataError(f"{archive.where(name)} = {quoted(str(values))}: expected a whole number >= 0")
    return int(values)
