"""Configurations and data sets that are planned."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from hpc_sparse.config import RunConfig, parse_config
from hpc_sparse.storage.dataset.samples import DatasetInfo


@pytest.fixture
def wide_config() -> Callable[..., RunConfig]:
    """Make the configuration of a network whose arrays are much larger than what else a test allocates."""

    def make(*overrides: str) -> RunConfig:
        text = """
            [data]
            path = "wide.h5"
            [network]
            hidden = [9000, 7001, 11000]
            epsilon = 3
            [training]
            epochs = 3
            batch_size = 20
        """
        return parse_config(text, "wide.toml", overrides)

    return make


@pytest.fixture
def info(make_dataset) -> DatasetInfo:
    """What a small dense data set says of itself."""
    return make_dataset().info


@pytest.fixture
def peak_of() -> Iterator[Callable[[Callable[[], object]], int]]:
    """The most bytes that a call has allocated at any time; the second one counts, so nothing is compiled in it."""

    def measure(action: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> int:
        action()
        prepare()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        action()
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    yield measure
    tracemalloc.stop()
