"""Asking for rows of a large source before they are needed.

A connection reads a whole row of its source, at a place that no hardware predicts. If the source does not fit into the
caches, waiting for memory takes most of the time. Rows that are asked for some connections ahead arrive in time.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from hpc_sparse.kernels.simd.machine import AHEAD
from hpc_sparse.kernels.simd.vector_code import INT32, INT64, load_index

_LINE_BYTES = 64
_BYTES = ir.IntType(8).as_pointer()


def prefetch(builder: ir.IRBuilder, pointer: ir.Value, n_bytes: int) -> None:
    """Ask for the cache lines of ``n_bytes`` (at least one line) from ``pointer`` on; changes nothing."""
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, INT32, INT32, INT32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    start = builder.bitcast(pointer, _BYTES)
    for byte in range(0, n_bytes, _LINE_BYTES):
        # For reading, to all levels of the cache, data.
        builder.call(function, [builder.gep(start, [INT64(byte)]), INT32(0), INT32(3), INT32(1)])


def ahead(builder: ir.IRBuilder, indices: ir.Value, k: ir.Value, last: ir.Value) -> ir.Value:
    """``indices`` AHEAD connections after connection ``k``, or that of the ``last`` connection of all."""
    slot = builder.add(k, INT64(AHEAD))
    slot = builder.select(builder.icmp_signed("<", slot, last), slot, last)
    return load_index(builder, indices, slot)
