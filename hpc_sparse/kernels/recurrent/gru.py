"""The gated recurrent unit: one step forward, and its derivative.

Of each neuron, a step has three sums of the input map and three of the recurrent map: of the reset gate, the update
gate and the candidate. They lie one after the other: the sums of the reset gates of all n neurons, then the others.
The reset gate comes after the recurrent product (as in cuDNN and PyTorch; Cho et al. 2014 have it before).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, prange, types
from numba.extending import intrinsic

from hpc_sparse.kernels.simd.activation import BLOCK
from hpc_sparse.kernels.simd.columns import width_at
from hpc_sparse.kernels.simd.functions import hyperbolic_tangent, logistic
from hpc_sparse.kernels.simd.vector_code import (
    float_vector,
    load_vector,
    multiply_add,
    pointer_or_value,
    store_vector,
)

N_GATES = 3


@intrinsic
def _advance(typing_context, gates, products, offset, gap, before, after, place):
    """A step of one neuron for BLOCK columns; sums of the gates lie ``gap`` apart, states at ``place``."""
    signature = types.void(gates, products, offset, gap, before, after, place)

    def codegen(context, builder, signature, args):
        pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        gates, products, offset, gap, before, after, place = pointer
        where = _gate_pointers(builder, gates, offset, gap)
        own = [load_vector(builder, each, BLOCK) for each in where]
        fed_back = [load_vector(builder, each, BLOCK) for each in _gate_pointers(builder, products, offset, gap)]
        state = load_vector(builder, builder.gep(before, [place]), BLOCK)
        reset = logistic(builder, builder.fadd(own[0], fed_back[0]))
        update = logistic(builder, builder.fadd(own[1], fed_back[1]))
        candidate = hyperbolic_tangent(builder, multiply_add(builder, reset, fed_back[2], own[2]))
        for value, target in zip((reset, update, candidate), where, strict=True):
            store_vector(builder, value, target)
        state = multiply_add(builder, update, builder.fsub(state, candidate), candidate)
        store_vector(builder, state, builder.gep(after, [place]))
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _retreat(typing_context, gates, products, offset, gap, before, through, carried, place):
    """The derivative of a step of one neuron for BLOCK columns, as :func:`gru_backward` has it."""
    signature = types.void(gates, products, offset, gap, before, through, carried, place)

    def codegen(context, builder, signature, args):
        pointer = [pointer_or_value(context, builder, *pair) for pair in zip(signature.args, args, strict=True)]
        gates, products, offset, gap, before, through, carried, place = pointer
        where, there = (_gate_pointers(builder, each, offset, gap) for each in (gates, products))
        reset, update, candidate = (load_vector(builder, each, BLOCK) for each in where)
        fed_back = load_vector(builder, there[2], BLOCK)
        state, passed, kept = (
            load_vector(builder, builder.gep(each, [place]), BLOCK) for each in (before, through, carried)
        )
        one = ir.Constant(float_vector(BLOCK), [1.0] * BLOCK)
        delta = builder.fadd(passed, kept)
        of_update = builder.fmul(builder.fmul(delta, builder.fsub(state, candidate)), _slope(builder, update))
        leaves = builder.fmul(delta, builder.fsub(one, update))
        of_candidate = builder.fmul(leaves, builder.fsub(one, builder.fmul(candidate, candidate)))
        of_reset = builder.fmul(builder.fmul(of_candidate, fed_back), _slope(builder, reset))
        for value, target in zip((of_reset, of_update, of_candidate), where, strict=True):
            store_vector(builder, value, target)
        for value, target in zip((of_reset, of_update, builder.fmul(of_candidate, reset)), there, strict=True):
            store_vector(builder, value, target)
        store_vector(builder, builder.fmul(delta, update), builder.gep(carried, [place]))
        return context.get_dummy_value()

    return signature, codegen


def _gate_pointers(builder: ir.IRBuilder, values: ir.Value, offset: ir.Value, gap: ir.Value) -> list[ir.Value]:
    places = [offset]
    for _ in range(N_GATES - 1):
        places.append(builder.add(places[-1], gap))
    return [builder.gep(values, [place]) for place in places]


def _slope(builder: ir.IRBuilder, gate: ir.Value) -> ir.Value:
    """The derivative of the logistic function where it is ``gate``."""
    return builder.fmul(gate, builder.fsub(ir.Constant(gate.type, [1.0] * gate.type.count), gate))


advance: Callable[..., Any] = _advance
retreat: Callable[..., Any] = _retreat


@njit(parallel=True, cache=True, nogil=True)
def gru_forward(gates, products, before, n, width, after):
    """One step of n neurons from their sums.

    ``r = s(x_r + h_r), z = s(x_z + h_z), c = tanh(x_c + r h_c), after = c + z (before - c)``, with the logistic
    function s, the sums x of the input map and h of the recurrent map.

    Parameters
    ----------
    gates : float32[3 n * n_columns] in tiles
        Sums of the input map; overwritten with r, z and c.
    products : float32[3 n * n_columns] in tiles
        Sums of the recurrent map.
    before : float32[n * n_columns] in tiles
        The state.
    n, width : int
        Neurons; width of the tiles.
    after : float32[n * n_columns] in tiles
        Overwritten with the next state.
    """
    n_columns = before.size // n
    for row in prange(n):
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            offset, place = column * N_GATES * n + row * own, column * n + row * own
            for block in range(0, own, BLOCK):
                advance(gates, products, offset + block, n * own, before, after, place + block)
            column += own


@njit(parallel=True, cache=True, nogil=True)
def gru_backward(gates, products, before, above, through, carried, n, width):
    """The derivative of :func:`gru_forward`: from that by the state after the step to those by all sums.

    Parameters
    ----------
    gates : float32[3 n * n_columns] in tiles
        r, z and c; overwritten with the derivatives by the sums of the input map.
    products : float32[3 n * n_columns] in tiles
        Sums of the recurrent map; overwritten with the derivatives by them.
    before : float32[n * n_columns] in tiles
        The state before the step.
    above : float32[n * n_columns] in tiles, or empty
        A part of the derivative by the state after the step: what comes from the layer above.
    through : float32[n * n_columns] in tiles
        Another part: what comes from the next step's recurrent product; changed.
    carried : float32[n * n_columns] in tiles
        The third: what comes from the next step's state. Overwritten with what goes to the state before.
    n, width : int
        Neurons; width of the tiles.
    """
    n_columns = before.size // n
    for row in prange(n):
        column = 0
        while column < n_columns:
            own = width_at(column, n_columns, width)
            offset, place = column * N_GATES * n + row * own, column * n + row * own
            if above.size:
                for i in range(place, place + own):
                    through[i] += above[i]
            for block in range(0, own, BLOCK):
                retreat(gates, products, offset + block, n * own, before, through, carried, place + block)
            column += own
