"""The vector loops for registers as wide as the machine's, and for wider ones, which it emulates.

Narrower ones run in the passes that ``tools/test`` computes by narrower instructions.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.kernels.hashing import MIX32_FACTORS, MIX32_SHIFTS
from hpc_sparse.kernels.simd import dense_tiles, row_loops, vector_code
from hpc_sparse.kernels.simd.activation import BLOCK, COLUMN_STEP, WORDS, record_words
from hpc_sparse.kernels.simd.machine import SUMS
from hpc_sparse.kernels.simd.prefetch import FAR, LOST, NEAR

LOOPS = [
    "row_sum",
    "indirect_row_sum",
    "row_sum_activated",
    "row_dots",
    "more_row_dots",
    "row_sum_and_dots",
    "row_sum_and_more_dots",
    "indirect_row_sum_and_dots",
]
N_NEURONS, N_CONNECTIONS, WIDEST = 21, 60, 128
BEFORE = 48
"""Numbers before the tile that is read."""

STOPS = [40, N_CONNECTIONS]
"""Where the row of a neuron ends: among others, of which some are asked for early, and at the last connection."""

ROWS = [(stop, distance) for stop in STOPS for distance in (NEAR, FAR, LOST)]


@pytest.fixture(scope="module", params=[lanes for lanes in (4, 8, 16) if lanes >= INSTRUCTION_SET.lanes])
def loops(request):
    """All loops compiled for registers as wide as the machine's or wider, and the widths of tiles there."""
    lanes = request.param
    widths = tuple(width for width in (16, 32, 64, WIDEST) if width <= SUMS * lanes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_loops, "LANES", lanes)
        patch.setattr(vector_code, "WIDTHS", widths)
        yield SimpleNamespace(
            lanes=lanes, widths=widths, **{name: compiled(getattr(row_loops, name)) for name in LOOPS}
        )


def compiled(loop):
    @njit
    def run(*arguments):
        loop(*arguments)

    return run


@pytest.fixture
def row(make_columns):
    """Connections of some neurons, and what lies at both of their ends; a tile are the first columns of both."""
    rng = np.random.default_rng(1)
    return SimpleNamespace(
        source=make_columns(N_NEURONS, WIDEST),
        own=make_columns(1, WIDEST, seed=3)[0],
        indices=rng.integers(0, N_NEURONS, N_CONNECTIONS).astype(np.int32),
        position=rng.permutation(N_CONNECTIONS).astype(np.int32),
        weight=rng.standard_normal(N_CONNECTIONS).astype(np.float32),
    )


def flat(matrix, width):
    """A tile behind others, which are no numbers."""
    return np.concatenate([np.full(BEFORE, np.nan, np.float32), matrix[:, :width].ravel()])


@pytest.mark.parametrize("n_connections", range(18))
@pytest.mark.parametrize("shift", [0, -5])
@pytest.mark.parametrize("adds", [False, True])
def test_dots_are_those_of_numpy_at_every_width(loops, row, n_connections, shift, adds):
    run = loops.more_row_dots if adds else loops.row_dots
    before = np.random.default_rng(2).standard_normal(N_CONNECTIONS).astype(np.float32) if adds else np.float32(0)
    for width in loops.widths:
        tile, own = flat(row.source, width), np.concatenate([[np.nan] * 16, row.own[:width]]).astype(np.float32)
        found = {}
        for stop, distance in ROWS:
            start = stop - n_connections
            dots = np.full(N_CONNECTIONS, np.nan, np.float32) if not adds else before.copy()
            run(width, tile, BEFORE, row.indices, start, stop, N_CONNECTIONS - 1, distance, own, 16, dots, shift)
            written = np.arange(start + shift, stop + shift)
            expected = row.source.astype(np.float64)[row.indices[start:stop], :width] @ own[16:].astype(np.float64)
            expected += before[written] if adds else 0
            np.testing.assert_allclose(dots[written], expected, rtol=1e-5, atol=1e-5)
            others = np.delete(dots, written)
            np.testing.assert_array_equal(others, np.delete(before, written) if adds else np.full_like(others, np.nan))
            found[stop, distance] = dots.tobytes()
        assert all(found[stop, far] == found[stop, NEAR] for stop in STOPS for far in (FAR, LOST))


@pytest.mark.parametrize("n_connections", range(12))
@pytest.mark.parametrize("position_type", [np.int32, np.int64])
@pytest.mark.parametrize("is_indirect", [False, True])
def test_row_sums_are_those_of_numpy_at_every_width(loops, row, n_connections, position_type, is_indirect):
    initial, slope, position = np.float32(0.5), np.float32(-0.25), row.position.astype(position_type)
    for stop, distance in ROWS:
        connections = slice(stop - n_connections, stop)
        used = row.weight[position[connections]] if is_indirect else row.weight[connections]
        product = used.astype(np.float64) @ row.source[row.indices[connections]]
        activated = np.where(product >= -initial, 1, slope) * (initial + product)
        narrowest = None
        for width in loops.widths:
            tile, out = flat(row.source, width), np.full(3 * width, np.nan, np.float32)
            bounds = stop - n_connections, stop, N_CONNECTIONS - 1, distance
            if is_indirect:
                loops.indirect_row_sum(width, tile, BEFORE, row.indices, position, row.weight, *bounds, out, width)
            else:
                loops.row_sum(width, tile, BEFORE, row.indices, row.weight, *bounds, initial, slope, out, width)
            found = out[width : 2 * width]
            np.testing.assert_allclose(found, (product if is_indirect else activated)[:width], rtol=1e-5, atol=1e-5)
            assert np.isnan(out).sum() == 2 * width
            narrowest = found if narrowest is None else narrowest
            assert found[: narrowest.size].tobytes() == narrowest.tobytes()


def test_far_rows_have_the_same_sums(loops, row):
    for width in loops.widths:
        tile = flat(row.source, width)
        for stop in STOPS:
            found = []
            for distance in (NEAR, FAR, LOST):
                out = np.full(2 * width, np.nan, np.float32)
                bounds = stop - 31, stop, N_CONNECTIONS - 1, distance
                loops.row_sum(
                    width, tile, BEFORE, row.indices, row.weight, *bounds, np.float32(0.5), np.float32(1), out, 0
                )
                loops.indirect_row_sum(width, tile, BEFORE, row.indices, row.position, row.weight, *bounds, out, width)
                found.append(out.tobytes())
            assert len(set(found)) == 1


@pytest.mark.parametrize("n_connections", [0, 1, 4, 7, 20])
def test_sums_activated_in_registers_are_to_the_bit_those_activated_afterwards(loops, row, n_connections):
    column, drop_below, row_key = 16, np.uint32(1 << 30), np.uint32(12345)
    slope, scale, initial = np.float32(-0.5), np.float32(1.25), np.float32(0.5)
    for width in loops.widths:
        tile, place = flat(row.source, width), record_words(width)
        for stop, distance in ROWS:
            sums, out = (np.full(2 * width, np.nan, np.float32) for _ in range(2))
            record = np.full(3 * place, 0xA5C3, np.uint16)
            bounds = stop - n_connections, stop, N_CONNECTIONS - 1
            connections = width, tile, BEFORE, row.indices, row.weight, *bounds
            loops.row_sum(*connections, NEAR, initial, np.float32(1), sums, width)
            dropout = column, slope, scale, drop_below, row_key, record, place
            loops.row_sum_activated(*connections, distance, initial, out, width, *dropout)
            found = sums[width:]
            is_kept = column_numbers(row_key, np.arange(column, column + width)) >= drop_below
            assert 0 < is_kept.sum() < width
            expected = np.where(found < 0, slope * found, found) * scale
            np.testing.assert_array_equal(out[width:], np.where(is_kept, expected, np.float32(0)))
            assert np.isnan(out[:width]).all()
            bits = (record[place : 2 * place].reshape(-1, WORDS)[:, :, None] >> np.arange(BLOCK) & 1).astype(bool)
            np.testing.assert_array_equal(bits[:, 0].ravel(), is_kept)
            np.testing.assert_array_equal(bits[:, 1].ravel(), found < 0)
            assert (np.delete(record, range(place, 2 * place)) == 0xA5C3).all()


def column_numbers(row_key, columns):
    """The random 32-bit numbers of some columns of a row, uint32[n]."""
    number = np.uint32(row_key) + columns.astype(np.uint32) * np.uint32(COLUMN_STEP)
    for shift, factor in zip(MIX32_SHIFTS, (*MIX32_FACTORS, 1), strict=True):
        number = (number ^ (number >> np.uint32(shift))) * np.uint32(factor)
    return number


@pytest.mark.parametrize("width", [8, 16, 32])
def test_dense_tiles_are_those_of_numpy_at_every_width(make_columns, width):
    n_in, n_out, stride = 9, 7, 48
    tile, slope = dense_tiles._make_dense_tile(width), np.float32(-0.25)

    @njit
    def run(weight, bias, source, first, out):
        tile(weight, bias, source, 32, n_in, stride, 16, first, n_out, slope, out, 64)

    rng = np.random.default_rng(1)
    weight, bias = (rng.standard_normal(n).astype(np.float32) for n in (n_out * n_in, n_out))
    source, out = make_columns(n_in, stride), np.full(64 + n_out * stride, np.nan, np.float32)
    first = n_out - 2
    run(weight, bias, np.concatenate([np.full(32, np.nan, np.float32), source.ravel()]), first, out)
    product = weight.reshape(n_out, n_in).astype(np.float64) @ source[:, 16 : 16 + width] + bias[:, None]
    product = np.where(product >= 0, product, slope * product)
    found = out[64:].reshape(n_out, stride)[first:, 16 : 16 + width]
    np.testing.assert_allclose(found, product[first:], rtol=1e-5, atol=1e-5)
    assert np.isnan(out).sum() == out.size - 2 * width


@pytest.mark.parametrize("kind", ["direct", "direct_adds", "indirect"])
@pytest.mark.parametrize("n_connections", [0, 1, 2, 3, 4, 5, 7, 8, 13])
def test_the_fused_pass_handles_every_remainder_at_every_width(loops, row, n_connections, kind):
    run = {
        "direct": loops.row_sum_and_dots,
        "direct_adds": loops.row_sum_and_more_dots,
        "indirect": loops.indirect_row_sum_and_dots,
    }[kind]
    rng = np.random.default_rng(4)
    before = rng.standard_normal(N_CONNECTIONS).astype(np.float32) if kind == "direct_adds" else None
    for width in loops.widths:
        place = record_words(width)
        words = rng.integers(0, 1 << 16, (2, place // WORDS, WORDS)).astype(np.uint16)
        is_kept, is_negative = ((words[1, :, word, None] >> np.arange(BLOCK) & 1).ravel() for word in range(WORDS))
        derivative = np.where(is_kept, np.where(is_negative, -1.0, 2.0), 0.0)
        delta, source = flat(row.source, width), np.concatenate([np.full(width, np.nan), row.own[:width]])
        found = {}
        for stop, distance in ROWS:
            start = stop - n_connections
            out = np.full(2 * width, np.nan, np.float32)
            dots = np.full(N_CONNECTIONS, np.nan, np.float32) if before is None else before.copy()
            connections = delta, BEFORE, row.indices, row.position, row.weight, start, stop, N_CONNECTIONS - 1, distance
            factors = words.ravel(), place, np.float32(-0.5), np.float32(2)
            run(width, *connections, source.astype(np.float32), width, *factors, out, dots)
            rows = row.source.astype(np.float64)[row.indices[start:stop], :width]
            where = row.position[start:stop] if kind == "indirect" else np.arange(start, stop)
            sums = row.weight[where].astype(np.float64) @ rows
            np.testing.assert_allclose(out[width:], sums * derivative, rtol=1e-5, atol=1e-5)
            assert np.isnan(out[:width]).all()
            expected = rows @ source[width:] + (0 if before is None else before[where])
            np.testing.assert_allclose(dots[where], expected, rtol=1e-5, atol=1e-5)
            others = np.delete(dots, where)
            unchanged = np.full_like(others, np.nan) if before is None else np.delete(before, where)
            np.testing.assert_array_equal(others, unchanged)
            found[stop, distance] = out.tobytes() + dots.tobytes()
        assert all(found[stop, far] == found[stop, NEAR] for stop in STOPS for far in (FAR, LOST))


@pytest.mark.parametrize("n_connections", [0, 1, 3, 8, 17])
def test_the_fused_pass_gives_the_bits_of_sums_and_dots_at_every_width(loops, row, n_connections):
    for width in loops.widths:
        tile, own = flat(row.source, width), row.own[:width].copy()
        every = np.tile(np.uint16([0xFFFF, 0]), width // BLOCK)
        for stop, distance in ROWS:
            bounds = stop - n_connections, stop, N_CONNECTIONS - 1, distance
            sums, out = np.full(width, np.nan, np.float32), np.full(width, np.nan, np.float32)
            dots, found = (np.full(N_CONNECTIONS, np.nan, np.float32) for _ in range(2))
            loops.row_sum(width, tile, BEFORE, row.indices, row.weight, *bounds, np.float32(0), np.float32(1), sums, 0)
            loops.row_dots(width, tile, BEFORE, row.indices, *bounds, own, 0, dots, 0)
            connections = tile, BEFORE, row.indices, row.position, row.weight, *bounds
            derivative = every, 0, np.float32(1), np.float32(1)
            loops.row_sum_and_dots(width, *connections, own, 0, *derivative, out, found)
            assert out.tobytes() == sums.tobytes()
            assert found.tobytes() == dots.tobytes()


@pytest.mark.parametrize("n_connections", [0, 1, 3, 8, 17])
def test_short_rows_give_the_bits_of_the_same_rows_widened(loops, row, n_connections):
    for width in loops.widths:
        short = (flat(row.source, width).view(np.uint32) >> 16).astype(np.uint16)
        short_own = (row.own[:width].view(np.uint32) >> 16).astype(np.uint16)
        every = np.tile(np.uint16([0xFFFF, 0]), width // BLOCK)
        for stop, distance in ROWS:
            bounds = stop - n_connections, stop, N_CONNECTIONS - 1, distance
            results = []
            for tile, own in ((short, short_own), (widened(short), widened(short_own))):
                sums, out = np.full(width, np.nan, np.float32), np.full(width, np.nan, np.float32)
                dots, others = (np.full(N_CONNECTIONS, np.nan, np.float32) for _ in range(2))
                added = np.float32(0), np.float32(1)
                loops.row_sum(width, tile, BEFORE, row.indices, row.weight, *bounds, *added, sums, 0)
                loops.row_dots(width, tile, BEFORE, row.indices, *bounds, own, 0, dots, 0)
                connections = tile, BEFORE, row.indices, row.position, row.weight, *bounds
                derivative = every, 0, np.float32(1), np.float32(1)
                loops.indirect_row_sum_and_dots(width, *connections, own, 0, *derivative, out, others)
                results.append([each.tobytes() for each in (sums, out, dots, others)])
            assert results[0] == results[1]


def widened(words):
    return (words.astype(np.uint32) << 16).view(np.float32)


def machine_independent_code(loops, row, name):
    """What a loop is compiled to, in LLVM's terms."""
    width = loops.widths[0]
    tile, own, dots = flat(row.source, width), row.own[:width].copy(), np.zeros(N_CONNECTIONS, np.float32)
    out, record, bounds, one = np.zeros(width, np.float32), np.zeros(2, np.uint16), (0, 2, 5, NEAR), np.float32(1)
    indirect, direct = (row.position, row.weight), (row.weight,)
    dropout = (0, one, one, np.uint32(0), np.uint32(0), record, 0)
    derived = (own, 0, record, 0, one, one, out, dots)
    given = {
        "row_sum": (*direct, *bounds, one, one, out, 0),
        "indirect_row_sum": (*indirect, *bounds, out, 0),
        "row_sum_activated": (*direct, *bounds, one, out, 0, *dropout),
        "row_dots": (*bounds, own, 0, dots, 0),
        "more_row_dots": (*bounds, own, 0, dots, 0),
        "row_sum_and_dots": (*indirect, *bounds, *derived),
        "row_sum_and_more_dots": (*indirect, *bounds, *derived),
        "indirect_row_sum_and_dots": (*indirect, *bounds, *derived),
    }
    run = compiled(getattr(row_loops, name))
    run(width, tile, BEFORE, row.indices, *given[name])
    return "".join(run.inspect_llvm().values())


@pytest.mark.parametrize("name", [name for name in LOOPS if "dots" in name])
def test_dots_are_computed_in_registers_of_this_width(loops, row, name):
    code = machine_independent_code(loops, row, name)
    found = {lanes for lanes in (4, 8, 16) if f"@llvm.fmuladd.v{lanes}f32" in code}
    assert found == {loops.lanes}


@pytest.mark.parametrize("name", LOOPS)
def test_every_loop_asks_for_far_rows(loops, row, name):
    assert "@llvm.prefetch" in machine_independent_code(loops, row, name)
