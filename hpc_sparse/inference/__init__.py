"""Predicting with trained networks: arrays in, arrays out, without MPI."""

from __future__ import annotations

from hpc_sparse.inference.model import TrainedModel, load_model

__all__ = ["TrainedModel", "load_model"]
