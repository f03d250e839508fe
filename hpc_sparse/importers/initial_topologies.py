"""Initial topologies from files: the first connections of hidden layers, whose neurons are groups of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpc_sparse.config import NetworkSection, RunConfig, find_file
from hpc_sparse.config.layers import FROM_FILE
from hpc_sparse.errors import ConfigError
from hpc_sparse.importers.membership import Membership, read_membership


@dataclass(frozen=True)
class TopologyFile:
    """What is told of a file.

    Attributes
    ----------
    layer : int
        Number of the hidden layer, from 0 on.
    path : str
    features, groups, connections : int
        Neurons below and in the layer, and pairs of them.
    sha256 : str
        Of the file, in hexadecimal digits.
    """

    layer: int
    path: str
    features: int
    groups: int
    connections: int
    sha256: str

    @classmethod
    def of(cls, layer: int, path: Path, found: Membership) -> TopologyFile:
        """That of a layer."""
        n_groups, n_features = found.topology.shape
        return cls(layer, str(path), n_features, n_groups, found.topology.n_connections, found.digest)


def find_topologies(config: RunConfig, config_path: Path) -> dict[int, Path]:
    """Files of a configuration by the number of the layer; they are looked for where data sets are.

    Raises
    ------
    ConfigError
        One is missing.
    """
    network, found = config.network, dict[int, Path]()
    for layer, path in network.topology_files.items():
        setting = f'{_place(network, layer)}.initial_topology = "{FROM_FILE}{path}"'
        found[layer] = find_file(path, config_path, setting, "file")
    return found


def read_topologies(
    network: NetworkSection,
    paths: Mapping[int, Path],
    n_inputs: int,
    names: Sequence[str] | None,
    remedy: str = 'network.ungrouped_features = "keep"',
) -> dict[int, Membership]:
    """First connections of layers by their number.

    Parameters
    ----------
    network : NetworkSection
    paths : mapping of int to Path
        See :func:`find_topologies`.
    n_inputs : int
    names : sequence of str or None
        Of the features. A layer above one from a file knows its neurons by the names of the groups.
    remedy : str
        What a message advises for features without a group.

    Raises
    ------
    DataError
        A file is not what it should be, or does not fit the data: see
        :func:`~hpc_sparse.importers.membership.read_membership`.
    ConfigError
        A layer has another number of neurons than its file has groups.
    """
    below, found = [n_inputs, *network.hidden], dict[int, Membership]()
    for layer, path in paths.items():
        if layer:
            names = found[layer - 1].groups if layer - 1 in found else None
        options: dict[str, Any] = {"allow_missing": network.ungrouped_features == "keep", "remedy": remedy}
        owner = f"layer {layer - 1}" if layer else "the data"
        known = names if names is not None and len(names) == below[layer] else None
        found[layer] = read_membership(path, below[layer], known, **options, owner=owner)
        _check_width(network, layer, path, found[layer])
    return found


def described(network: NetworkSection, files: Sequence[TopologyFile]) -> dict[str, Any]:
    """What plans and summaries tell of initial topologies, as plain values."""
    return {
        "initial_topologies": network.initial_topologies,
        **({"topology_files": [asdict(each) for each in files]} if files else {}),
    }


def _check_width(network: NetworkSection, layer: int, path: Path, found: Membership) -> None:
    n, n_groups = network.hidden[layer], len(found.groups)
    if n == n_groups:
        return
    if network.layers is None:
        setting = f"network.hidden = {list(network.hidden)}: expected {n_groups} neurons in layer {layer}"
    else:
        setting = f"network.layers.{layer}.n = {n}: expected {n_groups} neurons"
    raise ConfigError(f"{setting}, one for each group of {path}")


def _place(network: NetworkSection, layer: int) -> str:
    return "network" if network.layer(layer).initial_topology is None else f"network.layers.{layer}"
