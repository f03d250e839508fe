"""Warming up compiles what the run needs and touches nothing of it."""

from __future__ import annotations

import pytest

from hpc_sparse.kernels.batch import clear_csr, gather_dense
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.warm_up import _tiny_dataset, warm_up

CTX = ParallelContext.serial(threads=1)


@pytest.mark.parametrize(("kind", "kernel"), [("float32", gather_dense), ("uint8", gather_dense), ("csr", clear_csr)])
@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy"])
def test_every_kind_of_data_is_warmed_up(make_config, make_dataset, kind, kernel, loss):
    config = make_config(f"training.loss={loss}", "evolution.every_epochs=7")
    before = config.to_toml()
    warm_up(CTX, config, make_dataset(n_classes=2, kind=kind).info)
    assert kernel.signatures
    assert config.to_toml() == before


@pytest.mark.parametrize("kind", ["float32", "uint8", "csr"])
def test_the_tiny_data_are_of_the_types_of_the_real_ones(make_dataset, kind):
    dataset = make_dataset(kind=kind)
    tiny = _tiny_dataset(dataset.info, 8)
    assert type(tiny.train.features) is type(dataset.train.features)
    for name, array in vars(tiny.train.features).items():
        real = getattr(dataset.train.features, name)
        assert getattr(array, "dtype", None) == getattr(real, "dtype", None), name
    assert tiny.train.labels.dtype == dataset.train.labels.dtype
