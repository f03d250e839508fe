"""Vector registers and caches of this machine, and what they say about the layout of activations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hpc_sparse.kernels import INSTRUCTION_SET

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
"""Where Linux describes the caches of the first core."""

LIKELY_BYTES = {2: 512 << 10, 3: 16 << 20}
"""Sizes of the second and the last cache where the system does not tell: small ones of today."""


def cache_bytes(level: int, folder: Path = CACHES) -> int:
    """Bytes of the cache of level 2 or 3 that the first core uses."""
    for index in sorted(folder.glob("index*")):
        try:
            found, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if int(found) == level and kind != "Instruction":
                return int(size.rstrip("KM")) << (20 if size.endswith("M") else 10)
        except (OSError, ValueError):
            continue
    return LIKELY_BYTES[level]


LANES = INSTRUCTION_SET.lanes
"""float32 values in one vector register."""

SUMS = 8
"""Registers of sums that a row of a tile fills at most: they hide the latency of a multiply-add."""

WIDTHS = tuple(width for width in (16, 32, 64, 128) if width <= SUMS * LANES)
"""Columns that a tile can have: the sums of one neuron then stay in registers across a loop over its connections."""

PADDING = WIDTHS[0]
"""Activations have a multiple of this many columns, so that tiles of :data:`WIDTHS` cover them."""

L3_SHARE = 8
"""A core can count on this part of the last cache: cores share it, and other sources pass through it."""

L2_BYTES, L3_BYTES = cache_bytes(2), cache_bytes(3)

FAR_BYTES = L2_BYTES // 4
"""A tile of more bytes than this is read at random places, for which it is asked early: :data:`AHEAD`. Measured."""

LOST_BYTES = L3_BYTES
"""A tile of more bytes than this comes from memory, and is asked for into the second cache. Measured."""

AHEAD = 16
"""Connections between the one that is computed and the one whose source is asked for. Measured."""


def tile_width(widths: Iterable[int], *, lanes: int = LANES, l2_bytes: int = L2_BYTES, l3_bytes: int = L3_BYTES) -> int:
    """Columns of a tile of activations that make passes over a network fastest; measured, see tools/results/tiles.md.

    A connection reads one row of its source at a place that nothing foretells. The widest tile of which half the second
    cache holds a whole layer is best, and 32 columns are where the second cache holds most of that much. Beyond, every
    access leaves it. Then 64 columns make more of each, where the share of the last cache that a core can count on
    holds them, or where the last cache does not help 32 columns either.

    Parameters
    ----------
    widths : iterable of int
        Neurons of each layer, the inputs among them.
    lanes, l2_bytes, l3_bytes : int
        Of the machine.
    """
    row_bytes, widest = max(widths) * 4, SUMS * lanes
    for width in (128, 64):
        if width <= widest and row_bytes * width <= l2_bytes // 2:
            return width
    is_far = row_bytes * 32 > 2 * l2_bytes
    is_held, is_lost = row_bytes * 64 <= l3_bytes // L3_SHARE, row_bytes * 32 > l3_bytes // 3
    return min(64, widest) if is_far and (is_held or is_lost) else 32
