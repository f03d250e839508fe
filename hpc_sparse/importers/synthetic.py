"""Synthetic classification problems (Guyon 2003, the design of Madelon) made by scikit-learn."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.dtypes import VALUE
from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.importers.labels import encode_labels
from hpc_sparse.importers.split import stratified_split
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import DatasetInfo, DenseFeatures, Samples
from hpc_sparse.storage.dataset.writer import write_dataset


def import_classification(
    target: Path | str,
    *,
    n_samples: int,
    n_features: int,
    n_informative: int,
    n_redundant: int,
    n_classes: int,
    separation: float = 3.0,
    seed: int = 0,
    test_fraction: float = 0.2,
    title: str | None = None,
    order_seed: int = 0,
    overwrite: bool = False,
) -> DatasetInfo:
    """Write a synthetic data set of one normal cluster per class, labelled as synthetic.

    Parameters
    ----------
    target : path
    n_samples, n_features, n_classes : int
    n_informative : int
        Features that are informative by themselves.
    n_redundant : int
        Features that are random mixtures of the informative ones; all others are noise.
    separation : float
        Half the distance of the classes' centres along an informative feature.
    seed : int
        Seed of the problem and of its division.
    test_fraction : float
        Fraction of each class for testing.
    title : str, optional
    order_seed : int
        Seed of the order of the training samples.
    overwrite : bool
        Whether an existing target may be replaced.

    Raises
    ------
    DataError
        There is no such problem.
    MachineError
        scikit-learn is not installed.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    datasets = _scikit_learn()
    _check_sizes(n_samples, n_features, n_informative, n_redundant, n_classes)
    features, classes = datasets.make_classification(
        n_samples=n_samples,
        n_features=n_features,
        n_informative=n_informative,
        n_redundant=n_redundant,
        n_classes=n_classes,
        n_clusters_per_class=1,
        class_sep=separation,
        random_state=seed,
    )
    values = features.astype(VALUE)
    del features  # in float64: most of the memory that this takes
    (labels,), names = encode_labels("make_classification", (classes,))
    train, test = stratified_split(labels, test_fraction, seed)
    write_dataset(
        target,
        Samples(DenseFeatures(values[train]), labels[train]),
        Samples(DenseFeatures(values[test]), labels[test]),
        title=f"Synthetic, {n_features:,} features, {n_classes} classes" if title is None else f"{title} (synthetic)",
        class_names=names,
        source=(
            f"synthetic: make_classification of scikit-learn {_version()}, {n_informative} informative and "
            f"{n_redundant} redundant features, one cluster per class, separation {separation:g}, seed {seed}"
        ),
        split=f"random within each class, test fraction {test_fraction:g}, seed {seed}",
        order_seed=order_seed,
        overwrite=overwrite,
    )
    return read_info(target)


def _check_sizes(n_samples: int, n_features: int, n_informative: int, n_redundant: int, n_classes: int) -> None:
    if not 1 <= n_informative <= n_features:
        raise DataError(f"informative features = {n_informative}: must be >= 1 and <= {n_features}, the features")
    if not 0 <= n_redundant <= n_features - n_informative:
        raise DataError(
            f"redundant features = {n_redundant}: must be >= 0 and <= {n_features - n_informative}, the features that "
            "are not informative"
        )
    if n_classes < 2 or n_informative < np.log2(n_classes):
        raise DataError(
            f"classes = {n_classes}: must be >= 2 and <= {2**n_informative}, the corners of a cube of {n_informative} "
            "informative features"
        )
    if n_samples < 2 * n_classes:
        raise DataError(f"samples = {n_samples}: must be >= {2 * n_classes}, two for each class")


def _scikit_learn() -> Any:
    try:
        return import_module("sklearn.datasets")
    except ImportError as error:
        raise MachineError(
            f"make-classification: needs scikit-learn, which cannot be imported ({error}): "
            "pip install 'hpc-sparse[sklearn]'"
        ) from None


def _version() -> str:
    version: str = import_module("sklearn").__version__
    return version
