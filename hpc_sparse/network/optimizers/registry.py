"""Optimisers that configurations choose from. To add one, add a file and a line."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.config.registry import OPTIMIZERS
from hpc_sparse.network.optimizers.adagrad import Adagrad
from hpc_sparse.network.optimizers.adamw import Adamw
from hpc_sparse.network.optimizers.protocol import Optimizer
from hpc_sparse.network.optimizers.sgd import Sgd

for each in (Sgd, Adamw, Adagrad):
    OPTIMIZERS.register(each)


def make_optimizer(config: RunConfig) -> Optimizer:
    """The optimiser that a configuration asks for."""
    kind = OPTIMIZERS[config.training.optimizer]
    assert issubclass(kind, Optimizer)
    return kind.from_config(config)
