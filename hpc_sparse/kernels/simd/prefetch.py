"""Asking for rows of a large layer before they are needed.

A connection reads a whole row of its source, at a place that no hardware predicts. If the source does not fit into the
caches, waiting for memory takes most of the time. Rows that are requested some connections ahead arrive in time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.vector_code import INT32, INT64, loop, pointer_or_value

FROM_BYTES = 8 << 20
"""Sources of at least this size are prefetched; below, asking costs more than it brings. Measured."""

AHEAD_BYTES = 8 << 10
"""So many bytes of rows are on their way at a time, in at least MIN_AHEAD and at most MAX_AHEAD connections."""

MIN_AHEAD, MAX_AHEAD = 8, 32
_LINE_BYTES = 64


@njit(inline="always")
def connections_ahead(source):
    """How many connections ahead the rows of ``source`` [n, stride] are asked for; 0 for not at all."""
    if source.nbytes < FROM_BYTES:
        return 0
    return min(MAX_AHEAD, max(MIN_AHEAD, AHEAD_BYTES // (source.itemsize * source.shape[1])))


@njit(inline="always")
def prefetch_rows(source, neurons, start, stop, ahead):
    """Ask for the rows of the connections that come ``ahead`` connections after those of a row, ``start`` to ``stop``.

    A long row is left alone: the processor sees far enough ahead in it by itself.
    """
    if stop - start > ahead:
        return
    row_bytes = source.shape[1] * source.itemsize
    for k in range(start + ahead, min(stop + ahead, neurons.size)):
        prefetch(source, np.int64(neurons[k]) * source.shape[1], row_bytes)


@intrinsic
def _prefetch(typing_context, array, offset, n_bytes):
    """Ask for the cache lines of ``n_bytes`` (at least one line) from ``array.flat[offset]`` on; changes nothing."""
    signature = types.void(array, offset, n_bytes)

    def codegen(context, builder, signature, args):
        values = (pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True))
        pointer, offset, n_bytes = values
        anything = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [anything, INT32, INT32, INT32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        start = builder.bitcast(builder.gep(pointer, [offset]), anything)

        def ask(byte: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            # For reading, to all levels of the cache, data.
            builder.call(function, [builder.gep(start, [byte]), INT32(0), INT32(3), INT32(1)])
            return nothing

        loop(builder, INT64(0), n_bytes, _LINE_BYTES, [], ask)
        return context.get_dummy_value()

    return signature, codegen


prefetch: Callable[..., Any] = _prefetch
