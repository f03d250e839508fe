"""Files that first connections of a run are from, read for its data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hpc_sparse.config import RunConfig
from hpc_sparse.importers.initial_topologies import TopologyFile, read_topologies
from hpc_sparse.importers.membership import Membership
from hpc_sparse.inputs.sequences import n_inputs
from hpc_sparse.storage.dataset.feature_summary import read_feature_names
from hpc_sparse.storage.dataset.samples import DatasetInfo


def read_files(config: RunConfig, paths: Mapping[int, Path], info: DatasetInfo) -> dict[int, Membership]:
    """First connections of layers by their number; raises as ``read_topologies``.

    Parameters
    ----------
    config : RunConfig
    paths : mapping of int to Path
        Of the files, by the number of the layer.
    info : DatasetInfo
        Its features have the names that the file of the first layer may use.
    """
    names = read_feature_names(info.path) if 0 in paths else None
    return read_topologies(config.network, paths, n_inputs(config, info), names)


def told_of(paths: Mapping[int, Path], found: Mapping[int, Membership]) -> tuple[TopologyFile, ...]:
    """What is told of the files that have been read."""
    return tuple(TopologyFile.of(layer, path, found[layer]) for layer, path in paths.items())
