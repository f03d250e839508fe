"""The first connections of a layer in another program: drawn by a density, by fan-in, or those of a matrix."""

from __future__ import annotations

from typing import get_args

import numpy as np

from hpc_sparse.checks import check_csr, check_finite
from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray
from hpc_sparse.errors import ArrayError, ParameterError, quoted
from hpc_sparse.evolution.protocol import TopologyUpdater
from hpc_sparse.evolution.strategies.gse import GseUpdater
from hpc_sparse.evolution.strategies.rigl import RiglUpdater
from hpc_sparse.evolution.strategies.set import SetUpdater
from hpc_sparse.evolution.strategies.srigl import SriglUpdater
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.initial_topology import Pattern, draw_topology
from hpc_sparse.network.connections.initial_weights import UNIFORM_BOUNDS, draw_weights
from hpc_sparse.network.connections.registry import unstructured
from hpc_sparse.network.connections.topology import Topology, erdos_renyi_density
from hpc_sparse.rng import Purpose, stream_key

ALONE: dict[str, type[TopologyUpdater]] = {
    each.name: each for each in (SetUpdater, RiglUpdater, SriglUpdater, GseUpdater)
}
"""Strategies that decide about a layer without its neighbours and without state of their own."""

INITIALIZERS = (*UNIFORM_BOUNDS, "normal")
LARGEST_WIDTH = np.iinfo(INDEX).max


def check_shape(in_features: int, out_features: int) -> tuple[int, int]:
    """(n_out, n_in).

    Raises
    ------
    ParameterError
        One is not a whole number from 1 on that indices can hold.
    """
    for name, value in (("in_features", in_features), ("out_features", out_features)):
        if not _is_whole(value) or not 1 <= value <= LARGEST_WIDTH:
            raise ParameterError(f"{name} = {value!r}: expected a whole number from 1 to {LARGEST_WIDTH}")
    return int(out_features), int(in_features)


def check_threads(threads: object) -> None:
    """Check a number of threads, or None.

    Raises
    ------
    ParameterError
        It is neither.
    """
    if threads is not None and (not _is_whole(threads) or threads < 1):  # type: ignore[operator]
        raise ParameterError(f"threads = {threads!r}: expected a whole number from 1 on")


def find_strategy(name: str) -> TopologyUpdater:
    """The strategy of a layer alone, with the settings of its authors.

    Raises
    ------
    ParameterError
        There is none of this name.
    """
    if name not in ALONE:
        raise ParameterError(f'strategy = "{quoted(str(name))}": expected one of {", ".join(ALONE)}')
    return ALONE[name]()


def check_initializer(name: str) -> str:
    """The name of an initialiser of weights.

    Raises
    ------
    ParameterError
        There is none of this name.
    """
    if name not in INITIALIZERS:
        raise ParameterError(f'initializer = "{quoted(str(name))}": expected one of {", ".join(INITIALIZERS)}')
    return name


def draw_connections(
    shape: tuple[int, int],
    pattern: str,
    initializer: str,
    seed: int,
    *,
    density: float | None = None,
    epsilon: float | None = None,
    fan_in: int | None = None,
) -> Csr:
    """Random connections.

    Parameters
    ----------
    shape : (n_out, n_in)
    pattern : str
        See :func:`~hpc_sparse.network.connections.initial_topology.draw_topology`.
    initializer : str
    seed : int
    density, epsilon, fan_in
        One of them: share of the possible connections; SET's epsilon; incoming connections of each neuron, for the
        pattern "constant_fan_in", which it is short for.

    Raises
    ------
    ParameterError
        One of these is wrong.
    """
    if pattern not in get_args(Pattern):
        raise ParameterError(
            f'initial_topology = "{quoted(str(pattern))}": expected one of {", ".join(get_args(Pattern))}'
        )
    given = {"density": density, "epsilon": epsilon, "fan_in": fan_in}
    if len(said := [name for name, value in given.items() if value is not None]) != 1:
        raise ParameterError(f"{' and '.join(said) or 'no density'}: expected one of density, epsilon and fan_in")
    if fan_in is not None:
        if not _is_whole(fan_in) or not 1 <= fan_in <= shape[1]:
            raise ParameterError(f"fan_in = {fan_in!r}: expected a whole number from 1 to {shape[1]}, the in_features")
        pattern, density = "constant_fan_in", fan_in / shape[1]
    if epsilon is not None:
        if not _is_positive(epsilon):
            raise ParameterError(f"epsilon = {epsilon!r}: expected a number above 0")
        density = erdos_renyi_density(epsilon, shape[1], shape[0])
    assert density is not None
    check_density(density)
    topology = draw_topology(pattern, shape, density, stream_key(seed, Purpose.TOPOLOGY))  # type: ignore[arg-type]
    return unstructured(topology, draw_weights(initializer, topology, stream_key(seed, Purpose.WEIGHTS)))


def check_density(density: float) -> None:
    """Check a share of the possible connections.

    Raises
    ------
    ParameterError
        It is not a number above 0 and at most 1.
    """
    if not _is_positive(density) or density > 1:
        raise ParameterError(f"density = {density!r}: expected a number above 0 and at most 1")


def check_drop_fraction(drop_fraction: float) -> None:
    """Check a share of the connections that is to be replaced.

    Raises
    ------
    ParameterError
        It is not a number from 0 to 1.
    """
    if drop_fraction != 0 and (not _is_positive(drop_fraction) or drop_fraction > 1):
        raise ParameterError(f"drop_fraction = {drop_fraction!r}: expected a number from 0 to 1")


def connections_of(where: str, indptr: AnyArray, indices: AnyArray, values: AnyArray, shape: tuple[int, int]) -> Csr:
    """The connections of a matrix in compressed rows that another program made.

    Raises
    ------
    ArrayError
        Rows are not sorted, indices out of range or twice, values not finite, or their numbers differ.
    """
    for name, array in (("indptr", indptr), ("indices", indices)):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ArrayError(f"{where}: {name}: {array.dtype}{list(array.shape)}: expected whole numbers in one row")
    if indptr.size != shape[0] + 1:
        raise ArrayError(f"{where}: indptr: {indptr.size} numbers: expected {shape[0] + 1} for {shape[0]} out_features")
    if values.shape != indices.shape or values.dtype != VALUE:
        raise ArrayError(f"{where}: values: {values.dtype}{list(values.shape)}: expected float32[{indices.size}]")
    check_csr(where, indptr, indices, shape[1], error=ArrayError)
    check_finite(f"{where}: values", values, error=ArrayError)
    topology = Topology(shape, indptr.astype(OFFSET), indices.astype(INDEX))
    return unstructured(topology, np.array(values))


def checked_stream(where: str, stream: AnyArray) -> tuple[int, int]:
    """Seed and number of changes, by which the random numbers of a layer go on.

    Raises
    ------
    ArrayError
        They are not two whole numbers from 0 on.
    """
    if stream.shape != (2,) or stream.dtype.kind not in "iu" or (stream < 0).any():
        raise ArrayError(f"{where}: stream: {stream.dtype}{list(stream.shape)}: expected two whole numbers from 0 on")
    seed, n_changes = stream.tolist()
    return seed, n_changes


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value)) and float(value) > 0  # type: ignore[call-overload,arg-type]
