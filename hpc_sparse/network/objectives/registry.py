"""Objectives that configurations choose from. To add one, add a file and a line."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.config.registry import OBJECTIVES
from hpc_sparse.network.objectives.binary_cross_entropy import BinaryCrossEntropy
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.objectives.hinge import Hinge
from hpc_sparse.network.objectives.mse import Mse
from hpc_sparse.network.objectives.mse_tanh import MseTanh
from hpc_sparse.network.objectives.protocol import Objective

for each in (CrossEntropy, BinaryCrossEntropy, Mse, MseTanh, Hinge):
    OBJECTIVES.register(each)


def make_objective(config: RunConfig) -> Objective:
    """The objective that a configuration asks for."""
    kind = OBJECTIVES[config.training.loss]
    assert issubclass(kind, Objective)
    return kind.from_config(config)
