"""Predictions of sequences of different lengths: steps beyond a length do not matter."""

from __future__ import annotations

import numpy as np
import pytest

from hpc_sparse.config import parse_config
from hpc_sparse.errors import ArrayError
from hpc_sparse.inference import TrainedModel
from hpc_sparse.network.network import Network

N_SAMPLES, N_STEPS, N_TOKENS = 37, 6, 9
CONFIG = """
data.path = "none.h5"
training = { epochs = 1, batch_size = 8 }
optimizer.learning_rate = 0.1
[network]
density = 0.5
[[network.layers]]
kind = "recurrent"
n = 11
"""
RNG = np.random.default_rng(0)
ROWS = RNG.integers(0, N_TOKENS, (N_SAMPLES, N_STEPS))
LENGTHS = RNG.integers(1, N_STEPS + 1, N_SAMPLES)


def model(n_steps=N_STEPS):
    config = parse_config(CONFIG, "test")
    return TrainedModel(
        Network.from_config(config.network, N_TOKENS, 3, seed=1, n_places=n_steps, reads_tokens=True), config, threads=1
    )


def test_a_shorter_sequence_has_the_outputs_that_it_has_alone():
    found = model().weighted_sums(ROWS, lengths=LENGTHS)
    for row, length, sums in zip(ROWS, LENGTHS, found, strict=True):
        np.testing.assert_array_equal(model(int(length)).weighted_sums(row[None, :length])[0], sums)
    assert not np.array_equal(model().weighted_sums(ROWS), found)
    np.testing.assert_array_equal(model().predict(ROWS, lengths=LENGTHS), found.argmax(axis=1))


def test_what_is_beyond_a_length_may_be_anything():
    is_beyond = np.arange(N_STEPS) >= LENGTHS[:, None]
    expected = model().weighted_sums(ROWS, lengths=LENGTHS)
    padded = np.where(is_beyond, -1, ROWS)
    np.testing.assert_array_equal(model().weighted_sums(padded, lengths=LENGTHS), expected)
    np.testing.assert_array_equal(model().weighted_sums(padded.tolist(), lengths=LENGTHS.tolist()), expected)
    assert (padded == -1).any(), "the caller's array stays as it is"
    with pytest.raises(ArrayError, match=r"X\[\d+, \d+\] = -1: must be >= 0"):
        model().weighted_sums(padded)
    config = parse_config(CONFIG, "test")
    numbers = TrainedModel(Network.from_config(config.network, 2, 3, seed=1, n_places=N_STEPS), config, threads=1)
    values = RNG.normal(size=(N_SAMPLES, N_STEPS, 2)).astype(np.float32)
    expected = numbers.weighted_sums(values, lengths=LENGTHS)
    values[is_beyond] = np.nan
    for given in (values, values.reshape(N_SAMPLES, -1)):
        np.testing.assert_array_equal(numbers.weighted_sums(given, lengths=LENGTHS), expected)


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        (LENGTHS[1:], r"lengths: int64\[36\]: expected integers \[37\], the steps of each sample"),
        (LENGTHS * 1.0, r"lengths: float64\[37\]: expected integers"),
        (np.where(np.arange(N_SAMPLES) == 5, 7, LENGTHS), r"lengths\[5\] = 7: must be >= 1 and <= 6, the steps"),
        (np.where(np.arange(N_SAMPLES) == 8, 0, LENGTHS), r"lengths\[8\] = 0: must be >= 1"),
    ],
)
def test_wrong_lengths_are_one_message(lengths, said):
    with pytest.raises(ArrayError, match=said):
        model().predict(ROWS, lengths=lengths)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:, 1:], r"X: int64\[37, 5\]: expected tokens, integers \[n_samples, 6\]"),
        (ROWS * 1.0, r"X: float64\[37, 6\]: expected tokens"),
        (ROWS + 1, r"X\[\d+, \d+\] = 9: must be >= 0 and < 9, one of the vocabulary"),
    ],
)
def test_wrong_tokens_are_one_message(rows, said):
    with pytest.raises(ArrayError, match=said):
        model().predict(rows)
