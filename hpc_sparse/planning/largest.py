"""Largest number of connections, batch or width that fits the memory, each varied by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import MAX_NEURONS
from hpc_sparse.inputs.sequences import n_inputs
from hpc_sparse.kernels.simd.machine import PADDING
from hpc_sparse.network.connections.topology import full_epsilon
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NONE_GIVEN, NetworkSize
from hpc_sparse.storage.dataset.samples import DatasetInfo
from hpc_sparse.storage.dataset.validation import count_validation

DIGITS = 3
"""Significant digits of what is found; the last one is rounded down."""

MOST = 1e12
"""No density parameter, batch or factor of the widths is looked for beyond."""


@dataclass(frozen=True)
class Largest:
    """The largest values of single settings that fit, all others as configured; None where none does.

    Attributes
    ----------
    sparsity : float or None
        Value of ``network.epsilon``, or of ``network.density`` if that is set.
    batch_size : int or None
        A multiple of what the kernels compute at a time.
    hidden : tuple of int or None
        All hidden layers wider, or narrower, alike.
    """

    sparsity: float | None
    batch_size: int | None
    hidden: tuple[int, ...] | None


def largest_fitting(
    config: RunConfig,
    info: DatasetInfo,
    n_outputs: int,
    n_ranks: int,
    n_node_ranks: int,
    n_bytes: int,
    given: Mapping[int, int] = NONE_GIVEN,
) -> Largest:
    """Look for them.

    Parameters
    ----------
    config : RunConfig
    info : DatasetInfo
    n_outputs : int
    n_ranks, n_node_ranks : int
        Ranks of the run, and on each node.
    n_bytes : int
        Memory that the ranks of a node may allocate together.
    given : mapping of int to int
        Connections of layers whose connections a file has, by the number of the layer. Widths are then what they are.
    """

    def fits(changed: RunConfig) -> bool:
        size = NetworkSize.of_run(changed, info, n_outputs, given)
        return plan_memory(changed, size, info, n_ranks).allocated * n_node_ranks <= n_bytes

    key = "density" if config.network.epsilon is None else "epsilon"
    most = 1.0 if key == "density" else _full_epsilon(config, n_inputs(config, info), n_outputs)
    sparsity = _largest(lambda value: fits(_with_network(config, **{key: value})), getattr(config.network, key), most)
    n_trained = info.n_train - count_validation(info, config.data.validation_fraction)
    shard = -(-n_trained // max(1, n_ranks // config.parallel.model))
    batches = _largest(lambda value: fits(_with_batch(config, value)), 1.0, max(1.0, shard / PADDING))
    if given:
        return Largest(sparsity, None if batches is None else PADDING * int(batches), None)
    widest = max(config.network.hidden, default=1)
    factor = _largest(
        lambda value: fits(_with_network(config, hidden=_widened(config, value))), 1.0, MAX_NEURONS / widest
    )
    hidden = None if factor is None or not config.network.hidden else _widened(config, factor)
    return Largest(sparsity, None if batches is None else PADDING * int(batches), hidden)


def _largest(fits: Callable[[float], bool], start: float, most: float) -> float | None:
    """The largest value up to ``most`` that fits, rounded down; what is larger than one that does not, does not."""
    if fits(most):
        return most
    low, high = min(start, most), most
    while not fits(low):
        low, high = low / 2, low
        if low < start / MOST:
            return None
    while high / low > 1 + 10**-DIGITS / 2:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return _rounded_down(low)


def _rounded_down(value: float) -> float:
    digits = DIGITS - 1 - math.floor(math.log10(value))
    return math.floor(value * 10.0**digits) / 10.0**digits


def _with_network(config: RunConfig, **values: object) -> RunConfig:
    return config.model_copy(update={"network": config.network.model_copy(update=values)})


def _with_batch(config: RunConfig, n_blocks: float) -> RunConfig:
    batch_size = max(1, PADDING * int(n_blocks))
    return config.model_copy(update={"training": config.training.model_copy(update={"batch_size": batch_size})})


def _widened(config: RunConfig, factor: float) -> tuple[int, ...]:
    return tuple(max(1, int(width * factor)) for width in config.network.hidden)


def _full_epsilon(config: RunConfig, n_in: int, n_out: int) -> float:
    """The epsilon from which on every connection exists."""
    pairs = pairwise([n_in, *config.network.hidden, n_out])
    return max(full_epsilon(*pair) for pair in pairs)
