"""Random streams addressed by what they are for, never by who asks or when.

A stream is named by (seed, purpose, epoch, layer, replica, step). The same name gives the same numbers in any process,
in any order, on any number of ranks. No generator state is stored in a checkpoint, and nothing is synchronised.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

MASK_64 = (1 << 64) - 1


class Purpose(IntEnum):
    """Purpose of a stream. The numbers are part of every run's result: never renumber."""

    TOPOLOGY = 1
    WEIGHTS = 2
    SHUFFLE = 3
    DROPOUT = 4
    DROP_AND_GROW = 5
    GROWN_WEIGHTS = 6
    DATA_SPLIT = 7
    DATA_ORDER = 8
    AUGMENT = 9
    GROWTH_POOL = 10
    GROWTH_BATCH = 11
    VALIDATION = 12
    ROUNDING = 13


def stream_key(
    seed: int, purpose: Purpose, *, epoch: int = 0, layer: int = 0, replica: int = 0, step: int = 0
) -> np.uint64:
    """The 64-bit key from which a kernel derives the stream's numbers by counting.

    If ``step`` is given, the key of the sub-stream after that many steps of the epoch.
    """
    key = 0
    for part in (seed, int(purpose), epoch, layer, replica):
        key = _mix((key ^ (part & MASK_64)) + 0x9E3779B97F4A7C15)
    return step_key(np.uint64(key), step) if step else np.uint64(key)


def stream(
    seed: int, purpose: Purpose, *, epoch: int = 0, layer: int = 0, replica: int = 0, step: int = 0
) -> np.random.Generator:
    """A NumPy generator for the stream (Philox: counter-based, the same on every platform)."""
    key = stream_key(seed, purpose, epoch=epoch, layer=layer, replica=replica, step=step)
    return np.random.Generator(np.random.Philox(key=int(key)))


def step_key(key: np.uint64, step: int) -> np.uint64:
    """The part of a stream that belongs to one step of its epoch."""
    return np.uint64(_mix(int(key) + (step + 1) * 0xD1B54A32D192ED03))


def _mix(value: int) -> int:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    value &= MASK_64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK_64
    return value ^ (value >> 31)
