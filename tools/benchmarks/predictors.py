"""The same network in different libraries, ready to predict; whatever can be prepared is prepared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from hpc_sparse.config import parse_config
from hpc_sparse.inference import TrainedModel
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.interop import to_torch
from hpc_sparse.network.network import Network

Predictor = Callable[[np.ndarray], np.ndarray]
"""float32[n_samples, n_features] to the weighted sums of the output layer, float32[n_samples, n_outputs]."""

CONFIG = "[data]\npath = 'x.h5'\n[network]\nhidden = []\n[training]\nepochs = 1"


def ours(network: Network, n_threads: int) -> Predictor:
    """With everything that ``predict`` does: checks of the samples, and standardisation."""
    n_features = network.widths[0]
    front_end = FrontEndChain((Standardise(np.zeros(n_features, np.float32), np.ones(n_features, np.float32)),))
    return TrainedModel(network, parse_config(CONFIG, "bench"), front_end, threads=n_threads).weighted_sums


def scipy_csr(network: Network, n_threads: int) -> Predictor:  # noqa: ARG001
    """CSR products, a vector for a single sample; one thread, as SciPy has it."""
    layers = [
        (
            sp.csr_array((layer.weight, layer.topology.indices, layer.topology.indptr), layer.topology.shape),
            layer.bias,
            np.float32(layer.slope),
        )
        for layer in network.layers
    ]

    def predict(X: np.ndarray) -> np.ndarray:
        if X.shape[0] == 1:
            values = X[0]
            for matrix, bias, slope in layers:
                values = matrix @ values + bias
                np.multiply(values, slope, out=values, where=values < 0)
            return values[None]
        values = np.ascontiguousarray(X.T)
        for matrix, bias, slope in layers:
            values = matrix @ values
            values += bias[:, None]
            np.multiply(values, slope, out=values, where=values < 0)
        return values.T

    return predict


def torch_csr(network: Network, n_threads: int) -> Predictor:
    """``torch.sparse.mm`` with CSR tensors."""
    model = to_torch(TrainedModel(network, parse_config(CONFIG, "bench")))
    return _without_gradients(model, n_threads)


def torch_dense(network: Network, n_threads: int) -> Predictor:
    """Dense layers of the same widths."""
    import torch

    modules: list[torch.nn.Module] = []
    for layer in network.layers:
        matrix = sp.csr_array((layer.weight, layer.topology.indices, layer.topology.indptr), layer.topology.shape)
        linear = torch.nn.Linear(*reversed(layer.topology.shape))
        linear.weight.data, linear.bias.data = torch.from_numpy(matrix.toarray()), torch.from_numpy(layer.bias.copy())
        modules += [linear, torch.nn.LeakyReLU(layer.slope)]
    return _without_gradients(torch.nn.Sequential(*modules), n_threads)


def _without_gradients(model, n_threads: int) -> Predictor:  # type: ignore[no-untyped-def]
    import torch

    def predict(X: np.ndarray) -> np.ndarray:
        torch.set_num_threads(n_threads)
        with torch.inference_mode():
            return model(torch.from_numpy(X)).numpy()  # type: ignore[no-any-return]

    return predict


PREDICTORS: dict[str, Callable[[Network, int], Predictor]] = {
    "torch_dense": torch_dense,
    "torch_csr": torch_csr,
    "scipy_csr": scipy_csr,
    "ours": ours,  # last, so that our settings for idle threads reach no other
}
