"""Predicting with trained networks: arrays in, arrays out, without MPI; and data sets as such arrays."""

from __future__ import annotations

from hpc_sparse.inference.arrays import Arrays, load_arrays
from hpc_sparse.inference.model import TrainedModel, load_model

__all__ = ["Arrays", "TrainedModel", "load_arrays", "load_model"]
