"""Widths of tiles by the caches and registers of a machine, and how both are found."""

from __future__ import annotations

import pytest

from hpc_sparse.kernels.simd import machine
from hpc_sparse.kernels.simd.machine import LIKELY_BYTES, cache_bytes, tile_width

KIB, MIB = 1 << 10, 1 << 20
TYPICAL = {
    "index0": {"level": "1", "type": "Data", "size": "48K"},
    "index1": {"level": "1", "type": "Instruction", "size": "32K"},
    "index2": {"level": "2", "type": "Unified", "size": "1280K"},
    "index3": {"level": "3", "type": "Unified", "size": "107520K"},
}


@pytest.fixture
def make_caches(tmp_path):
    """Make a folder that describes caches as Linux does, and give its path."""

    def make(caches):
        for index, files in caches.items():
            (tmp_path / index).mkdir()
            for name, text in files.items():
                (tmp_path / index / name).write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("lanes", "l2_bytes", "n_widest", "width"),
    [
        # Half of the cache holds the widest layer: 4 bytes x columns x neurons.
        (16, 512 * KIB, 512, 128),
        (16, 512 * KIB, 513, 64),
        (16, 512 * KIB, 1024, 64),
        (16, 512 * KIB, 1025, 32),
        (16, 1 * MIB, 1024, 128),
        (16, 1 * MIB, 1025, 64),
        (16, 1 * MIB, 2048, 64),
        (16, 1 * MIB, 2049, 32),
        (16, 2 * MIB, 2048, 128),
        (16, 2 * MIB, 2049, 64),
        (16, 2 * MIB, 4096, 64),
        (16, 2 * MIB, 4097, 32),
        # Eight registers of eight numbers hold 64 columns.
        (8, 512 * KIB, 1, 64),
        (8, 512 * KIB, 1024, 64),
        (8, 512 * KIB, 1025, 32),
        (8, 1 * MIB, 2048, 64),
        (8, 1 * MIB, 2049, 32),
        (8, 2 * MIB, 4096, 64),
        (8, 2 * MIB, 4097, 32),
        # Eight registers of four numbers hold 32 columns.
        (4, 512 * KIB, 1, 32),
        (4, 1 * MIB, 1000, 32),
        (4, 2 * MIB, 100_000, 32),
        # No fewer, however wide a layer is.
        (16, 512 * KIB, 10_000_000, 32),
        (8, 512 * KIB, 10_000_000, 32),
    ],
)
def test_a_tile_is_as_wide_as_registers_and_half_the_second_cache_allow(lanes, l2_bytes, n_widest, width):
    l3_bytes = 4 * n_widest * 200  # holds a tile of 32 columns, and too little for the share of one of 64
    assert tile_width([n_widest], lanes=lanes, l2_bytes=l2_bytes, l3_bytes=l3_bytes) == width


@pytest.mark.parametrize(
    ("lanes", "n_widest", "width"),
    [
        # A third of the last cache: 4 bytes x 32 columns x neurons.
        (16, 250_000, 32),
        (16, 250_001, 64),
        (8, 250_001, 64),
        (4, 250_001, 32),
        # An eighth of it: 4 bytes x 64 columns x neurons.
        (16, 46_875, 64),
        (16, 46_876, 32),
        (8, 46_875, 64),
        (4, 46_875, 32),
        # Twice the second cache: nearer layers keep 32 columns.
        (16, 32_769, 64),
        (16, 32_768, 32),
    ],
)
def test_tiles_far_away_are_wider_where_the_last_cache_holds_them_or_helps_none(lanes, n_widest, width):
    assert tile_width([n_widest], lanes=lanes, l2_bytes=2 * MIB, l3_bytes=96_000_000) == width


def test_the_widest_layer_decides_wherever_it_is():
    for widths in ([2049, 10, 10], [10, 2049, 10], [10, 10, 2049]):
        assert tile_width(iter(widths), lanes=16, l2_bytes=2 * MIB, l3_bytes=32 * MIB) == 64


@pytest.mark.parametrize("n_widest", [1, 100, 1000, 3000, 10_000, 1_000_000])
def test_this_machine_has_tiles_of_the_width_that_suits_it(n_widest):
    assert tile_width([n_widest]) in machine.WIDTHS


def test_widths_fill_the_registers_of_sums_at_most():
    assert machine.WIDTHS[:2] == (16, 32)
    assert all(wide == 2 * narrow for narrow, wide in zip(machine.WIDTHS, machine.WIDTHS[1:], strict=False))
    assert machine.WIDTHS[-1] == min(128, machine.SUMS * machine.LANES)
    assert all(width % machine.PADDING == 0 and width % machine.LANES == 0 for width in machine.WIDTHS)


@pytest.mark.parametrize(
    ("size", "n_bytes"), [("512K", 512 * KIB), ("1024K", 1 * MIB), ("2048K", 2 * MIB), ("2M", 2 * MIB)]
)
def test_the_size_of_the_second_cache_is_read(make_caches, size, n_bytes):
    assert cache_bytes(2, make_caches(TYPICAL | {"index2": TYPICAL["index2"] | {"size": size}})) == n_bytes


def test_the_size_of_the_last_cache_is_read(make_caches, tmp_path):
    assert cache_bytes(3, make_caches(TYPICAL)) == 107_520 * KIB
    assert cache_bytes(3, tmp_path / "missing") == LIKELY_BYTES[3]


def test_a_second_cache_of_instructions_is_not_meant(make_caches):
    caches = {
        "index0": {"level": "2", "type": "Instruction", "size": "256K"},
        "index1": {"level": "2", "type": "Data", "size": "768K"},
    }
    assert cache_bytes(2, make_caches(caches)) == 768 * KIB


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"level": "2"},
        {"level": "2", "type": "Unified"},
        {"type": "Unified", "size": "64K"},
        {"level": "", "type": "Unified", "size": "64K"},
        {"level": "two", "type": "Unified", "size": "64K"},
        {"level": "2", "type": "Unified", "size": ""},
        {"level": "2", "type": "Unified", "size": "K"},
        {"level": "2", "type": "Unified", "size": "large"},
        {"level": "2", "type": "Unified", "size": b"\xff\xfe"},
    ],
)
def test_a_broken_entry_is_passed_over(make_caches, broken):
    assert cache_bytes(2, make_caches({"index1": broken, "index2": TYPICAL["index2"]})) == 1280 * KIB


def test_a_likely_size_is_taken_where_all_entries_are_broken(make_caches):
    assert cache_bytes(2, make_caches({"index2": {"level": "2"}})) == LIKELY_BYTES[2]


def test_a_likely_size_is_taken_where_there_is_no_second_cache(make_caches):
    assert cache_bytes(2, make_caches({name: TYPICAL[name] for name in ("index0", "index3")})) == LIKELY_BYTES[2]


def test_a_likely_size_is_taken_where_nothing_is_described(tmp_path):
    assert cache_bytes(2, tmp_path) == LIKELY_BYTES[2]
    assert cache_bytes(2, tmp_path / "missing") == LIKELY_BYTES[2]
    (tmp_path / "file").write_text("2048K\n")
    assert cache_bytes(2, tmp_path / "file") == LIKELY_BYTES[2]
