"""Section ``[data]``."""

from __future__ import annotations

from typing import Literal

from hpc_sparse.config.section import Fraction, Section


class DataSection(Section):
    """The data set and how its features are scaled."""

    path: str
    """HDF5 data set. A relative path is looked up beside the configuration, in $HPC_SPARSE_DATA, in data/."""

    standardize: bool = True
    """Dense features: subtract the training part's mean and divide by its standard deviation. CSR features stay."""

    augmentation: Literal["none", "cifar"] = "none"
    """Changes to training images; cifar: 32 x 32 x 3, rotated by up to 10 degrees, shifted by up to 0.1, flipped."""

    validation_fraction: Fraction = 0.0
    """Share of each class's training samples that is held out, chosen by training.seed. 0: no validation part."""
