"""Random streams: named by what they are for, independent, and the same for ever."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hpc_sparse.rng import Purpose, step_key, stream, stream_key

KNOWN_KEY = 17539276534738978496
KNOWN_STEP_KEY = 17694333949833953036
KNOWN_ORDER = [0, 4, 1, 2, 6, 3, 7, 5]


def test_every_name_has_its_own_key():
    names = itertools.product(range(4), Purpose, range(4), range(4), range(4))
    keys = {
        int(stream_key(seed, purpose, epoch=epoch, layer=layer, replica=replica))
        for seed, purpose, epoch, layer, replica in names
    }
    assert len(keys) == 4**4 * len(Purpose)


def test_the_parts_of_a_name_are_not_interchangeable():
    a = stream_key(1, Purpose.DROPOUT, epoch=2, layer=3)
    assert a != stream_key(1, Purpose.DROPOUT, epoch=3, layer=2)
    assert a != stream_key(2, Purpose.TOPOLOGY, epoch=2, layer=3)


def test_the_same_name_gives_the_same_numbers_whatever_was_drawn_before():
    expected = stream(5, Purpose.SHUFFLE, epoch=3).random(10)
    stream(5, Purpose.SHUFFLE, epoch=2).random(1000)
    np.testing.assert_array_equal(stream(5, Purpose.SHUFFLE, epoch=3).random(10), expected)


def test_streams_are_uncorrelated():
    drawn = np.array([stream(0, Purpose.SHUFFLE, epoch=epoch).standard_normal(4000) for epoch in range(8)])
    correlation = np.corrcoef(drawn) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_any_seed_of_the_configuration_works(seed):
    assert 0 <= stream(seed, Purpose.WEIGHTS).random() < 1


def test_keys_and_numbers_never_change():
    assert int(stream_key(1, Purpose.TOPOLOGY, epoch=2, layer=3, replica=4)) == KNOWN_KEY
    assert int(step_key(np.uint64(7), 11)) == KNOWN_STEP_KEY
    assert stream(1, Purpose.SHUFFLE, epoch=2).permutation(8).tolist() == KNOWN_ORDER


def test_steps_of_a_stream_have_distinct_keys():
    keys = {int(step_key(key, step)) for key in (np.uint64(0), np.uint64(2**64 - 1)) for step in range(10_000)}
    assert len(keys) == 20_000


def test_purposes_keep_their_numbers():
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "TOPOLOGY": 1,
        "WEIGHTS": 2,
        "SHUFFLE": 3,
        "DROPOUT": 4,
        "DROP_AND_GROW": 5,
        "GROWN_WEIGHTS": 6,
        "DATA_SPLIT": 7,
        "DATA_ORDER": 8,
        "AUGMENT": 9,
        "GROWTH_POOL": 10,
        "GROWTH_BATCH": 11,
        "VALIDATION": 12,
        "ROUNDING": 13,
    }
