"""Numbers of neurons from one-byte numbers within groups, some rows at a time.

Kernels expand the rows of a panel into a buffer that stays in the first cache, then run the row loops of
:mod:`hpc_sparse.kernels.simd.row_loops` over it. So the sums are those of unstructured connections, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.machine import L2_BYTES
from hpc_sparse.kernels.simd.prefetch import NEAR, distance_of
from hpc_sparse.kernels.simd.vector_code import INT64, loop, pointer_or_value, splat

PANEL = 512
"""Connections that are expanded at a time, or one row if it has more. Measured."""

GROUP = 256
"""Output neurons of a group of the transposed index, in which a byte numbers them."""

OVERRUN = 16
"""Connections that :func:`expand_run` takes at a time: so many numbers behind the last one must be there."""


HELD_BYTES = L2_BYTES // 2
"""Rows of a tile of so many bytes are not asked for early. All groups have as many inputs, so that the hardware follows
the rows, which come in increasing order; asking takes longer than waiting. Measured."""


@njit(inline="always")
def distance_in_groups(n_bytes):
    """Distance of a tile of so many bytes, as :func:`~hpc_sparse.kernels.simd.prefetch.distance_of` tells it."""
    return distance_of(n_bytes) if n_bytes > HELD_BYTES else np.int64(NEAR)


@njit(inline="always")
def expand_rows(position, base, first, n_rows, ins):
    """``ins[k]``: input neuron of connection ``k`` of ``n_rows`` rows from row ``first`` on.

    ``position`` uint8[nnz] is the number within its group, ``base`` int32[fan_in] the first input of each group.
    """
    fan_in = base.size
    for row in range(n_rows):
        start, at = (first + row) * fan_in, row * fan_in
        own, found = position[start : start + fan_in], ins[at : at + fan_in]
        for j in range(fan_in):
            found[j] = base[j] + own[j]


@njit(inline="always")
def panel_stop(starts, first, stop):
    """The row after those from ``first`` on, at least one, whose connections make a panel."""
    row = first + 1
    while row < stop and starts[row] - starts[first] < PANEL:
        row += 1
    return row


def _make_expand_run(*, has_places: bool) -> Callable[..., Any]:
    """Build ``expand_run``: ``n`` connections from ``k`` on, of one input neuron to one group of output neurons.

    ``neurons[at + i] = first_out + outs[k + i]``. If it ``has_places``, ``places[at + i]`` is that times ``fan_in``
    plus ``offset + slots[k + i]``. Up to OVERRUN - 1 numbers more are read and written.
    """

    @intrinsic
    def expand_run(tc, outs, slots, k, n, first_out, fan_in, offset, neurons, places, at):  # noqa: ARG001  (numba's)
        given = (outs, slots, k, n, first_out, fan_in, offset, neurons, places, at)
        signature = types.void(*given)

        def codegen(context, builder, signature, args):
            pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
            outs, slots, k, n, first_out, fan_in, offset, neurons, places, at = pointer
            index, wide = neurons.type.pointee, places.type.pointee

            def expanded(source: ir.Value, i: ir.Value, kind: ir.Type) -> ir.Value:
                place = builder.gep(source, [builder.add(k, i)])
                numbers = builder.load(builder.bitcast(place, _lanes(source.type.pointee).as_pointer()), align=1)
                return builder.zext(numbers, _lanes(kind))

            def constant(value: ir.Value, kind: ir.Type) -> ir.Value:
                return splat(builder, value if kind == INT64 else builder.trunc(value, kind), OVERRUN)

            def store(values: ir.Value, target: ir.Value, i: ir.Value) -> None:
                place = builder.gep(target, [builder.add(at, i)])
                builder.store(values, builder.bitcast(place, values.type.as_pointer()), align=4)

            def add_lanes(i: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
                found = builder.add(expanded(outs, i, index), constant(first_out, index))
                store(found, neurons, i)
                if has_places:
                    rows = found if wide == index else builder.zext(found, _lanes(wide))
                    where = builder.add(builder.mul(rows, constant(fan_in, wide)), constant(offset, wide))
                    store(builder.add(where, expanded(slots, i, wide)), places, i)
                return nothing

            loop(builder, INT64(0), n, OVERRUN, [], add_lanes)
            return context.get_dummy_value()

        return signature, codegen

    return expand_run


def _lanes(kind: ir.Type) -> ir.VectorType:
    return ir.VectorType(kind, OVERRUN)


expand_run, expand_run_of_outs = _make_expand_run(has_places=True), _make_expand_run(has_places=False)


@njit(inline="always")
def expand_columns(outs, slots, counts, starts, n, m, fan_in, first, stop, neurons, places):
    """Output neurons, and places among the weights, of the connections of input neurons from ``first`` to ``stop``.

    Parameters
    ----------
    outs, slots, counts, starts, n, m, fan_in
        As in :func:`hpc_sparse.kernels.patterns.backward.backward`.
    neurons : int32[connections of the panel + OVERRUN]
    places : int32 or int64, as many
        Overwritten.
    """
    n_groups = counts.size // (starts.size - 1)
    k, begin = np.int64(starts[first]), np.int64(starts[first])
    for row in range(first, stop):
        offset = np.int64(row // m * n)
        for group in range(n_groups):
            n_own = np.int64(counts[row * n_groups + group])
            expand_run(outs, slots, k, n_own, np.int64(group * GROUP), fan_in, offset, neurons, places, k - begin)
            k += n_own


@njit(inline="always")
def expand_outs(outs, counts, starts, first, stop, neurons):
    """Output neurons alone; arguments as of :func:`expand_columns`."""
    n_groups = counts.size // (starts.size - 1)
    k, begin, zero = np.int64(starts[first]), np.int64(starts[first]), np.int64(0)
    for row in range(first, stop):
        for group in range(n_groups):
            n_own = np.int64(counts[row * n_groups + group])
            first_out, at = np.int64(group * GROUP), k - begin
            expand_run_of_outs(outs, outs, k, n_own, first_out, zero, zero, neurons, neurons, at)
            k += n_own
