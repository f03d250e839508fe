"""Pruning of a trained network to a pattern N:M, from which training begins again (Mishra et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
from pydantic import ValidationError

from hpc_sparse.config import RunConfig
from hpc_sparse.config.layers import keys_of_connections
from hpc_sparse.dtypes import Float32Array, Int64Array
from hpc_sparse.errors import InputError, OutputError, quoted
from hpc_sparse.evolution import state_types
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.network.connections.group_pattern import GroupPattern
from hpc_sparse.network.connections.input_order import Search, best_order
from hpc_sparse.network.connections.n_of_m import NOfM
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import Layer
from hpc_sparse.network.layers.recurrent import RECURRENT, RecurrentLayer
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.network.layers.tanh import TanhLayer
from hpc_sparse.network.network import Network
from hpc_sparse.network.replica import Replica
from hpc_sparse.parallel.collectives import collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import write_checkpoint
from hpc_sparse.training.replica_states import replica_to_states

Prunable: TypeAlias = SparseLayer | TanhLayer | RecurrentLayer
KINDS = (SparseLayer, TanhLayer, RecurrentLayer)
"""Layers whose maps are weighted sums over the neurons of a layer."""

FIELDS = {INPUT: "incoming", RECURRENT: "recurrent"}
"""Fields of these layers that hold their maps."""


@dataclass(frozen=True)
class PatternRequest:
    """Request of a user to prune the hidden layers of a checkpoint to a pattern.

    Attributes
    ----------
    checkpoint : Path
    pattern : str
        N:M.
    output : Path
        The checkpoint to write.
    dataset : Path or None
        Whose test part tells what pruning does.
    search : "channel_swap", "stripes" or None
        How to look for an order of the hidden neurons that keeps more; None: they keep theirs.
    is_transposable : bool
        The transposed weights are to have the pattern, too.
    """

    checkpoint: Path
    pattern: str
    output: Path
    dataset: Path | None = None
    search: Search | None = None
    is_transposable: bool = False

    def checked_pattern(self) -> GroupPattern:
        """The pattern, and nothing where the output would be.

        Raises
        ------
        InputError
            The text stands for no pattern, or the output exists, or orders are asked for where they are not looked for.
        """
        if self.is_transposable and self.search is not None:
            raise InputError(f"--permute {self.search}: not with --transposable: orders are those of rows alone")
        try:
            pattern = GroupPattern.parse(self.pattern, is_transposable=self.is_transposable)
        except ValueError as error:
            raise InputError(f"pattern {quoted(self.pattern)}: {error}") from None
        if self.output.exists():
            raise OutputError(f"{self.output}: exists already; choose another --output")
        return pattern


def prune_to_pattern(ctx: ParallelContext, request: PatternRequest) -> dict[str, Any]:
    """Write the pruned network as it is before its first epoch, and tell what is left of it (collective).

    Raises
    ------
    InputError
        On every rank: a file is not what it should be, or the network cannot have the pattern; nothing was written.
    """
    pattern = on_root(ctx, request.checked_pattern)
    with collective_errors(ctx, "starting threads"):
        use_threads(ctx.threads)
    stored = StoredNetwork.read(ctx, request.checkpoint)
    dataset = None if request.dataset is None else stored.load_data(ctx, request.dataset)
    before = stored.replica.network
    with collective_errors(ctx, "pruning to a pattern"):
        layers = _checked_layers(request, pattern, before)
        config = pattern_config(stored.config, pattern)
        after, kept = _pruned(before, layers, pattern, request.search)
    rows = [
        {"network": name, **_measured(ctx, stored, network, dataset)}
        for name, network in (("before", before), ("after", after))
    ]
    replica = Replica.at_rest(after, state_types(config))
    checkpoint = replace(
        stored.checkpoint,
        config_text=config.to_toml(),
        epoch=0,
        step=0,
        layers=replica_to_states(replica),
        metrics={},
        history_best=None,
        replica=None,
        target_connections=(),
        step_in_epoch=0,
        progress=None,
        progress_names=(),
    )
    write_checkpoint(ctx, request.output, checkpoint)
    about = {"checkpoint": str(request.checkpoint), "pattern": str(pattern), "permute": request.search or "none"}
    about |= {"transposable": "yes"} if pattern.is_transposable else {}
    return {**about, "output": str(request.output), "kept": kept, "sizes": rows}


def pattern_config(config: RunConfig, pattern: GroupPattern) -> RunConfig:
    """The configuration with the hidden layers in groups, whose connections stay as they are.

    Raises
    ------
    InputError
        Some other setting does not go together with it.
    """
    tree = config.model_dump(mode="json", exclude_none=True)
    network = tree["network"]
    network |= {"connections": NOfM.kind, "pattern": str(pattern), "transposable": pattern.is_transposable}
    network["initial_topology"] = "erdos_renyi"
    of_others = [key for key in keys_of_connections() if key not in NOfM.keys]
    for key in of_others:
        network.pop(key, None)
    for layer in network.get("layers", []):
        of_layer = ("connections", "density", "initial_topology", "recurrent_connections", "recurrent_density")
        for key in (*of_layer, *NOfM.keys, *of_others):
            layer.pop(key, None)
    tree |= {"evolution": {"strategy": "static"}, "importance_pruning": {"mode": "off"}}
    tree |= {"block_pruning": {}, "group_lasso": {}}
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"pattern {pattern}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _checked_layers(request: PatternRequest, pattern: GroupPattern, network: Network) -> list[Prunable]:
    """The layers of the network, all of which can have the pattern."""
    layers = list[Prunable]()
    for number, layer in enumerate(network.layers):
        if not isinstance(layer, KINDS):
            known = ", ".join(each.kind for each in KINDS)
            raise InputError(
                f'{request.checkpoint}: layer {number} is of the kind "{layer.kind}": expected one of {known}'
            )
        if request.search is not None and not isinstance(layer, SparseLayer):
            raise InputError(
                f'{request.checkpoint}: --permute {request.search}: not with layers of the kind "{layer.kind}"'
            )
        layers.append(layer)
    for number, layer in enumerate(layers[:-1]):
        for connections in layer.connections().values():
            try:
                pattern.check_inputs(connections.shape[1])
            except ValueError as error:
                raise InputError(f"{request.checkpoint}: pattern {pattern} of layer {number}: {error}") from None
    if len(layers) == 1:
        raise InputError(f"{request.checkpoint}: has no hidden layer to prune")
    if request.search is not None and any(ids is not None for ids in network.neuron_ids[1:-1]):
        raise InputError(f"{request.checkpoint}: --permute: not where hidden neurons have been removed")
    return layers


def _pruned(
    network: Network, layers: Sequence[Prunable], pattern: GroupPattern, search: Search | None
) -> tuple[Network, list[dict[str, Any]]]:
    """The network with its hidden layers pruned, and the share of the |weights| that each of their maps keeps."""
    matrices = [{name: each.to_csr() for name, each in layer.connections().items()} for layer in layers]
    biases = [layer.bias for layer in layers]
    if search is not None:
        _permute(matrices, biases, pattern, search)
    pruned, kept = list[Layer](), list[dict[str, Any]]()
    for number, (layer, own, bias) in enumerate(zip(layers, matrices, biases, strict=True)):
        if number == len(layers) - 1:
            pruned.append(layer.copy())
            continue
        groups = {name: NOfM.largest(matrix, pattern) for name, matrix in own.items()}
        fields: dict[str, Any] = {FIELDS[name]: each for name, each in groups.items()}
        pruned.append(replace(layer, bias=bias, **fields).copy())
        for name, each in groups.items():
            total, left = (float(np.abs(values).sum(dtype=np.float64)) for values in (own[name].data, each.weight))
            share = left / total if total else 1.0
            kept.append({"layer": number, "map": name, "connections": each.weight.size, "share_of_weights": share})
    return Network(pruned, list(network.neuron_ids), tile_width=network.tile_width), kept


def _permute(
    matrices: list[dict[str, scipy.sparse.csr_array]],
    biases: list[Float32Array],
    pattern: GroupPattern,
    search: Search,
) -> None:
    """Give the neurons between two hidden layers another order, in place: inputs of one, outputs of the one below."""
    for number in range(1, len(matrices) - 1):
        above, below = matrices[number], matrices[number - 1]
        order = _order(above[INPUT], pattern, search)
        above[INPUT] = _sorted(above[INPUT][:, order])
        below[INPUT], biases[number - 1] = below[INPUT][order], biases[number - 1][order]


def _order(matrix: scipy.sparse.csr_array, pattern: GroupPattern, search: Search) -> Int64Array:
    try:
        return best_order(Topology.from_matrix(matrix), matrix.data, pattern, search)
    except ValueError as error:
        raise InputError(f"--permute {error}") from None


def _sorted(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """The same with increasing columns in each row."""
    matrix.sort_indices()
    return matrix


def _measured(ctx: ParallelContext, stored: StoredNetwork, network: Network, dataset: Any) -> dict[str, Any]:
    """Size of a network, and how good it is if there are data (collective)."""
    loss, accuracy = (None, None) if dataset is None else stored.evaluate(ctx, network, dataset)
    return {
        "connections": network.n_connections,
        "density": network.density,
        "test_loss": loss,
        "test_accuracy": accuracy,
    }
