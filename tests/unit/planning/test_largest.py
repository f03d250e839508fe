"""The largest settings that fit: they do, and a little more does not."""

from __future__ import annotations

import dataclasses

import pytest

from hpc_sparse.planning.largest import largest_fitting
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize

N_OUTPUTS, ROOM = 7, 150 * 10**6


@pytest.fixture
def many_samples(info):
    return dataclasses.replace(info, n_train=10**5)


@pytest.fixture
def needs(wide_config, many_samples):
    def bytes_of(*overrides: str) -> int:
        config = wide_config(*overrides)
        size = NetworkSize.expected(config.network, many_samples.n_features, N_OUTPUTS)
        return plan_memory(config, size, many_samples, n_ranks=2).allocated

    return bytes_of


@pytest.mark.parametrize("sparsity", ["epsilon=2.5", "density=0.001"])
def test_what_is_found_fits_and_little_more_does_not(wide_config, many_samples, needs, sparsity):
    config = wide_config(f"network.{sparsity}")
    found = largest_fitting(config, many_samples, N_OUTPUTS, 2, 2, 2 * ROOM)
    key, base = sparsity.split("=")[0], f"network.{sparsity}"
    more = [int(width * 1.02) for width in found.hidden]
    for fitting, too_large in (
        ((f"network.{key}={found.sparsity}",), (f"network.{key}={found.sparsity * 1.02}",)),
        ((base, f"training.batch_size={found.batch_size}"), (base, f"training.batch_size={found.batch_size * 1.05}")),
        ((base, f"network.hidden={list(found.hidden)}"), (base, f"network.hidden={more}")),
    ):
        assert needs(*fitting) <= ROOM
        assert needs(*(text.split(".0")[0] if "batch" in text else text for text in map(_whole, too_large))) > ROOM
    ratios = [new / old for new, old in zip(found.hidden, config.network.hidden, strict=True)]
    assert max(ratios) == pytest.approx(min(ratios), rel=1e-3)


def _whole(text: str) -> str:
    """An override whose batch is a whole number."""
    key, value = text.split("=", 1)
    return f"{key}={int(float(value)) + 1}" if "batch" in key else text


def test_nothing_fits_into_nothing(wide_config, many_samples):
    found = largest_fitting(wide_config(), many_samples, N_OUTPUTS, 1, 1, 1000)
    assert (found.sparsity, found.batch_size, found.hidden) == (None, None, None)


def test_where_everything_fits_the_layers_become_dense_and_the_batch_the_whole_shard(wide_config, info):
    config = wide_config("network.hidden=[30, 20]")
    found = largest_fitting(config, info, N_OUTPUTS, 1, 1, 10**15)
    dense = NetworkSize.expected(
        wide_config(f"network.epsilon={found.sparsity}", "network.hidden=[30, 20]").network, 12, 7
    )
    assert all(layer.is_dense for layer in dense.layers)
    assert info.n_train - 16 < found.batch_size <= info.n_train
