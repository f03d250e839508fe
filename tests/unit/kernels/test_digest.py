"""The digest is the sum that its description gives, whatever parts it is taken of, and any damage changes it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hpc_sparse.kernels.digest import MODULUS, array_digest

RNG = np.random.default_rng(5)


def described(array: np.ndarray, word: str, first: int = 0) -> int:
    """The digest by Python's integers."""
    total = 0
    for place, value in enumerate(np.frombuffer(array.tobytes(), word).tolist(), first):
        number = ((value ^ (place * 0x9E3779B97F4A7C15 % MODULUS)) * 0xBF58476D1CE4E5B9) % MODULUS
        total += number ^ (number >> 32)
    return total % MODULUS


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (RNG.normal(size=37).astype(np.float32), "u4"),
        (RNG.integers(-(2**62), 2**62, (5, 3)), "u4"),
        (RNG.integers(0, 256, 41).astype(np.uint8), "u1"),
        (RNG.integers(0, 9, 7).astype(np.int16), "u1"),
        (np.array([b"four", b"six666"]), "u1"),
        (np.array([b"abcd", b"efgh"]), "u1"),
    ],
)
def test_the_digest_is_the_sum_over_words_scrambled_with_their_place(array, word):
    assert array_digest(array) == described(array, word)
    words_per_row = array.nbytes // array.shape[0] // np.dtype(word).itemsize
    assert array_digest(array, 1000) == described(array, word, 1000 * words_per_row)


@pytest.mark.parametrize("shape", [(101,), (101, 3), (101, 1, 7)])
def test_digests_of_parts_add_up_to_that_of_the_whole(shape):
    array = RNG.normal(size=shape).astype(np.float32)
    bounds = [0, 0, 13, 14, 100, 101]
    parts = [array_digest(array[start:stop], start) for start, stop in pairwise(bounds)]
    assert sum(parts) % MODULUS == array_digest(array)


def test_nothing_adds_nothing():
    assert array_digest(np.empty(0, np.float32), 5) == 0
    assert array_digest(np.empty((0, 3), np.int64)) == 0


def test_what_a_plain_sum_does_not_see_changes_the_digest():
    array = RNG.integers(0, 2**31, 64).astype(np.int32)
    expected = array_digest(array)
    for changed in (array[::-1].copy(), np.roll(array, 16)):
        assert changed.sum() == array.sum()
        assert array_digest(changed) != expected
    compensated = array.copy()
    compensated[[3, 9]] += np.array([1, -1], np.int32)
    assert array_digest(compensated) != expected


def test_a_read_only_array_has_the_same_digest():
    array = RNG.normal(size=9).astype(np.float32)
    expected = array_digest(array)
    array.flags.writeable = False
    assert array_digest(array) == expected
