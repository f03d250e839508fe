"""The weights of a dense recurrent network of PyTorch, from its arrays by the names of a ``state_dict``.

``nn.GRU`` and ``nn.RNN`` have for each of their layers ``weight_ih_l0`` (n_gates n, n_in), ``weight_hh_l0``
(n_gates n, n), ``bias_ih_l0`` and ``bias_hh_l0``, after the name of the module. Cells here compute as they do: gates in
the order reset, update, new; the reset gate after the recurrent product; two biases; the state is (1 - update) new +
update state. Nothing is converted. Other cells are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import VALUE, AnyArray
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.interop.dense_weights import (
    STATISTICS,
    DenseMap,
    DenseWeights,
    Layout,
    chain_of_maps,
    checked_numbers,
    listed,
    natural,
    read_statistics,
)
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.layers.cells import CELLS
from hpc_sparse.network.layers.recurrent import RECURRENT, RecurrentLayer
from hpc_sparse.network.layers.recurrent_section import RecurrentSection

NAME = re.compile(
    r"(?P<module>(?:.*\.)?)(?P<what>weight|bias)_(?P<of>ih|hh|hr)(?P<level>(?:_l\d+)?)(?P<back>(?:_reverse)?)"
)
"""Name of an array of a recurrent module: also of ``nn.GRUCell`` and ``nn.RNNCell``, without a level."""

MAPS = {INPUT: "ih", RECURRENT: "hh"}
"""How PyTorch calls the maps of a layer."""

OF_TORCH = {1: "nn.RNN", 3: "nn.GRU", 4: "nn.LSTM"}
"""Modules by their number of gates."""


def has_recurrent_names(arrays: Mapping[str, AnyArray]) -> bool:
    """Whether some array is called as one of a recurrent module."""
    return any(NAME.fullmatch(name) for name in arrays)


def recurrent_weights(
    path: Path, arrays: dict[str, AnyArray], plans: Sequence[LayerBlueprint], layout: Layout
) -> DenseWeights:
    """The network among the arrays of a file.

    Recurrent layers are taken in the order of their names, and so are the matrices and biases of all other layers. A
    matrix (n_tokens, n) without a bias, of ``nn.Embedding``, becomes part of the first recurrent layer, which reads
    tokens: W E^T.

    Parameters
    ----------
    path : Path
        For messages.
    arrays : dict
    plans : sequence of LayerBlueprint
        Layers that the network must have.
    layout : {"auto", "torch", "keras"}
        Only those of PyTorch have such names.

    Raises
    ------
    DataError
        The arrays are not those of such a network, or its cells compute something else.
    """
    own = _by_layer(path, arrays, layout)
    recurrent = [plan for plan in plans if plan.kind == RecurrentLayer.kind]
    if len(own) != len(recurrent):
        raise DataError(
            f"{path}: {len(own)} recurrent layers ({', '.join(own) or 'none'}): expected {len(recurrent)}, as in the "
            "configuration"
        )
    others = {name: values for name, values in arrays.items() if not NAME.fullmatch(name)}
    tokens = plans[0].shape[1] if plans[0].reads_tokens else 0
    if tokens and any(name in arrays for name in STATISTICS):
        raise DataError(f"{path}: mean or deviation: tokens have none")
    embedding = _embedding(path, others, len(plans) - len(recurrent), tokens)
    layers = dict[int, Mapping[str, DenseMap]]()
    for plan, (where, found) in zip(recurrent, own.items(), strict=True):
        values = found
        if embedding is not None and plan.number == 0:
            values = _embedded(path, where, found, embedding)
        layers[plan.number] = _maps(path, where, values, plan)
    chain = [plan for plan in plans if plan.number not in layers]
    shapes = [plan.shape for plan in chain]
    expected = f"beside the recurrent layers, a matrix {' and one '.join(str(list(shape)) for shape in shapes)}"
    for plan, own_map in zip(chain, chain_of_maps(path, others, shapes, "torch", expected), strict=True):
        layers[plan.number] = {INPUT: own_map}
    steps = plans[0].n_places
    statistics = read_statistics(path, arrays, plans[0].shape[1] * steps, steps)
    return DenseWeights([layers[number] for number in range(len(plans))], *statistics)


def _by_layer(path: Path, arrays: Mapping[str, AnyArray], layout: Layout) -> dict[str, dict[str, AnyArray]]:
    """The arrays of each recurrent layer, as ``weight_ih`` and so on, by the beginning of their names."""
    if layout == "keras" or not has_recurrent_names(arrays):
        raise DataError(
            f"{path}: arrays {listed(arrays)}: expected recurrent layers by the names of PyTorch (weight_ih_l0, "
            "weight_hh_l0, bias_ih_l0, bias_hh_l0); those of Keras have other gates, see the guide"
        )
    found = dict[str, dict[str, AnyArray]]()
    for name in sorted(arrays, key=natural):
        match = NAME.fullmatch(name)
        if match is None:
            continue
        if match["back"]:
            raise DataError(f"{path}: {quoted(name)}: a second direction: recurrent layers here go forward alone")
        if match["of"] == "hr":
            raise DataError(f"{path}: {quoted(name)}: a projection of the state: recurrent layers here have none")
        layer = quoted(match["module"] + match["level"].removeprefix("_"))
        found.setdefault(layer, {})[f"{match['what']}_{match['of']}"] = arrays[name]
    return found


def _maps(path: Path, where: str, found: Mapping[str, AnyArray], plan: LayerBlueprint) -> dict[str, DenseMap]:
    """Both maps of a layer, checked."""
    assert isinstance(plan.section, RecurrentSection), plan.section
    cell, n = CELLS[plan.section.cell], plan.shape[0]
    wanted = {INPUT: (cell.n_gates * n, plan.shape[1]), RECURRENT: (cell.n_gates * n, n)}
    if missing := [f"weight_{own}" for own in MAPS.values() if f"weight_{own}" not in found]:
        raise DataError(f"{path}: recurrent layer {where}: {missing[0]} is missing")
    n_rows, n_state = (*found["weight_hh"].shape, 0, 0)[:2]
    module = OF_TORCH.get(n_rows // n_state) if n_state and n_rows % n_state == 0 else None
    if module is not None and module != OF_TORCH[cell.n_gates]:
        raise DataError(
            f"{path}: recurrent layer {where}: weight_hh {[n_rows, n_state]} is that of {module}: expected "
            f'{OF_TORCH[cell.n_gates]}, for network.layers.{plan.number}.cell = "{cell.name}"'
        )
    maps = dict[str, DenseMap]()
    for name, own in MAPS.items():
        weight, bias = found[f"weight_{own}"], found.get(f"bias_{own}", np.zeros(wanted[name][0], VALUE))
        for what, values, shape in (("weight", weight, wanted[name]), ("bias", bias, wanted[name][:1])):
            if values.shape != shape:
                raise DataError(
                    f"{path}: recurrent layer {where}: {what}_{own} {list(values.shape)}: expected {list(shape)}, for "
                    f"network.layers.{plan.number}"
                )
            checked_numbers(f"{path}: recurrent layer {where}: {what}_{own}", values)
        maps[name] = DenseMap(weight, bias)
    return maps


def _embedding(path: Path, others: dict[str, AnyArray], n_others: int, n_tokens: int) -> AnyArray | None:
    """The matrix of an embedding, which is taken out of the other arrays; None if there is none."""
    matrices = [name for name in others if others[name].ndim == 2]
    if not n_tokens or len(matrices) <= n_others:
        return None
    names = [
        name
        for name in matrices
        if others[name].shape[0] == n_tokens and f"{name.removesuffix('weight')}bias" not in others
    ]
    if len(names) != 1:
        raise DataError(
            f"{path}: arrays {listed(others)}: expected, beside the recurrent layers, {n_others} matrices with their "
            f"biases, and at most one [{n_tokens}, n] without a bias, of an embedding"
        )
    return checked_numbers(f"{path}: {quoted(names[0])}", others.pop(names[0]))


def _embedded(path: Path, where: str, found: Mapping[str, AnyArray], embedding: AnyArray) -> dict[str, AnyArray]:
    """The arrays of a layer that reads tokens, of one that reads the rows of an embedding."""
    weight = found.get("weight_ih", np.empty(0))
    if weight.ndim != 2 or weight.shape[1] != embedding.shape[1]:
        raise DataError(
            f"{path}: recurrent layer {where}: weight_ih {list(weight.shape)}: expected {embedding.shape[1]} inputs, "
            "as wide as the embedding"
        )
    checked_numbers(f"{path}: recurrent layer {where}: weight_ih", weight)
    return {**found, "weight_ih": weight.astype(np.float64) @ embedding.astype(np.float64).T}
