"""What is learned from: losses with the output activations and metrics that belong to them."""

from hpc_sparse.network.objectives import registry as registry
