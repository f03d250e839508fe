"""The baseline of n-grams against its definition, written down for one context after the other."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def share(train, context, token, n_tokens):
    """The Witten-Bell probability of a token after a context."""
    shorter = share(train, context[1:], token, n_tokens) if context else 1.0 / n_tokens
    length = len(context)
    # The n-grams of training end at the same places, whatever their length.
    ends = range(ORDER - 1, len(train))
    followers = [train[end] for end in ends if train[end - length : end] == context]
    if not followers:
        return shorter
    n_kinds = len(set(followers))
    return (followers.count(token) + n_kinds * shorter) / (len(followers) + n_kinds)


ORDER = 3


def test_bits_are_those_of_the_definition(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    from studies.recurrent import ngram_bits

    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 4, 60), rng.integers(0, 5, 20)
    given = train.tolist()
    expected = [
        -math.log2(share(given, test[end - ORDER + 1 : end].tolist(), int(test[end]), 5))
        for end in range(ORDER - 1, test.size)
    ]
    np.testing.assert_allclose(ngram_bits(train, test, 5, ORDER), np.mean(expected), rtol=1e-12)
    one = sum(share(given, [0, 1], token, 5) for token in range(5))
    assert abs(one - 1) < 1e-12
