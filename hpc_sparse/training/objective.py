"""The objective of a run, which may count classes differently."""

from __future__ import annotations

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import Float64Array
from hpc_sparse.errors import ConfigError
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.objectives.weighted_cross_entropy import WeightedCrossEntropy
from hpc_sparse.storage.dataset.samples import DatasetInfo


def run_objective(config: RunConfig, info: DatasetInfo) -> Objective:
    """The configured objective, by whose losses a run is trained and evaluated.

    Raises
    ------
    ConfigError
        There are more or fewer weights than classes.
    """
    chosen = config.training.class_weight
    if chosen is None:
        return make_objective(config)
    return WeightedCrossEntropy(balanced_weights(info) if chosen == "balanced" else _given(chosen, info))


def balanced_weights(info: DatasetInfo) -> Float64Array:
    """float64[n_classes]: by which all classes count alike, and all samples together as without; 0 for one without."""
    counts = np.array(info.class_counts_train, np.float64)
    present = counts > 0
    return np.asarray(np.divide(counts.sum() / present.sum(), counts, out=np.zeros_like(counts), where=present))


def _given(weights: tuple[float, ...], info: DatasetInfo) -> Float64Array:
    if len(weights) != info.n_classes:
        raise ConfigError(
            f"training.class_weight: {len(weights)} weights, but {info.path} has {info.n_classes} classes: expected "
            "one for each"
        )
    return np.array(weights, np.float64)
