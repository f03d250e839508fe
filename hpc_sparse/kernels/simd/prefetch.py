"""Asking for rows of a large source before they are needed.

A connection reads a whole row of its source, at a place that no hardware predicts. If the source does not fit into the
caches, waiting for memory takes most of the time. Rows that are asked for some connections ahead arrive in time.

Rows of a tile that the last cache does not hold are asked for into the second cache only, which can wait for more lines
at once than the first.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils

from hpc_sparse.kernels.simd.machine import AHEAD, FAR_BYTES, LOST_BYTES
from hpc_sparse.kernels.simd.vector_code import INT32, INT64, load_index

_LINE_BYTES = 64
_BYTES = ir.IntType(8).as_pointer()


NEAR, FAR, LOST = 0, 1, 2
"""Distances of a tile: nothing is asked for, rows are asked for into the first cache, into the second."""

_FIRST_CACHE, _SECOND_CACHE = 3, 2
"""Localities, as LLVM numbers them."""


@njit(inline="always")
def distance_of(n_bytes):
    """Distance of a tile of so many bytes, as int64."""
    return np.int64(n_bytes > FAR_BYTES) + np.int64(n_bytes > LOST_BYTES)


def prefetch(builder: ir.IRBuilder, pointer: ir.Value, n_bytes: int, locality: int = _FIRST_CACHE) -> None:
    """Ask for the cache lines of ``n_bytes`` (at least one line) from ``pointer`` on; changes nothing."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, INT32, INT32, INT32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    start = builder.bitcast(pointer, _BYTES)
    for byte in range(0, n_bytes, _LINE_BYTES):
        # For reading, data.
        builder.call(function, [builder.gep(start, [INT64(byte)]), INT32(0), INT32(locality), INT32(1)])


def prefetch_rows(builder: ir.IRBuilder, distance: ir.Value, rows: list[ir.Value], n_bytes: int) -> None:
    """Ask for rows of ``n_bytes`` each, of a tile at this distance that is not near."""
    is_lost = builder.icmp_signed("==", distance, INT64(LOST))
    with builder.if_else(is_lost) as (lost, far):
        for branch, locality in ((lost, _SECOND_CACHE), (far, _FIRST_CACHE)):
            with branch:
                for row in rows:
                    prefetch(builder, row, n_bytes, locality)


def ahead(builder: ir.IRBuilder, indices: ir.Value, k: ir.Value, last: ir.Value) -> ir.Value:
    """``indices`` AHEAD connections after connection ``k``, or that of the ``last`` connection of all."""
    slot = builder.add(k, INT64(AHEAD))
    slot = builder.select(builder.icmp_signed("<", slot, last), slot, last)
    return load_index(builder, indices, slot)
