"""Optimisers: how parameters move down their gradients."""

from hpc_sparse.network.optimizers import registry as registry
