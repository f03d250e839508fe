"""Loading of modules without the collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from hpc_sparse.cli.loading import without_collector


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_collects_again_afterwards_but_not_what_was_loaded() -> None:
    with without_collector():
        assert not gc.isenabled()
        loaded = [[]]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert not any(each is loaded for each in gc.get_objects())


def test_collects_again_when_loading_fails() -> None:
    with pytest.raises(ImportError), without_collector():
        raise ImportError
    assert gc.isenabled()
