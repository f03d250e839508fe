"""Files that format version 1 once wrote stay readable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint import read_checkpoint, read_checkpoint_info
from hpc_sparse.storage.dataset import CsrFeatures, DenseFeatures, load_dataset


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_the_golden_data_sets_are_read_as_they_were_made(
    ctx: ParallelContext, golden: dict[str, Any], kind: str
) -> None:
    dataset = load_dataset(ctx, golden[kind.upper()])
    made = golden[f"{kind}_samples"](5)
    assert (dataset.info.title, dataset.info.n_train, dataset.info.class_names) == ("golden", 11, golden["CLASS_NAMES"])
    np.testing.assert_array_equal(dataset.test.labels, made.labels)
    found = dataset.test.features
    if isinstance(found, DenseFeatures):
        np.testing.assert_array_equal(found.values, made.features.values)
        assert dataset.mean is not None
        np.testing.assert_allclose(dataset.mean, golden["dense_samples"](11).features.values.mean(axis=0), rtol=1e-6)
    else:
        assert isinstance(found, CsrFeatures)
        for name in ("indptr", "indices", "values"):
            np.testing.assert_array_equal(getattr(found, name), getattr(made.features, name))


def test_the_golden_checkpoint_is_read_as_it_was_made(ctx: ParallelContext, golden: dict[str, Any]) -> None:
    found, made = read_checkpoint(ctx, golden["CHECKPOINT"]), golden["checkpoint"]()
    assert (found.config_text, found.epoch, found.step, found.n_ranks) == (made.config_text, 12, 3456, 2)
    assert (found.metrics, found.history_best) == (made.metrics, made.history_best)
    for layer, expected in zip(found.layers, made.layers, strict=True):
        for name in ("indptr", "indices", "weight", "bias", "weight_velocity", "bias_velocity"):
            np.testing.assert_array_equal(getattr(layer, name), getattr(expected, name))
    assert read_checkpoint_info(golden["CHECKPOINT"]).format_version == 1
