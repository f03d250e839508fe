"""Weights as PyTorch's modules hold them: their formulas, by NumPy in float64, give the outputs of the network."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from torch_reference import states_of_torch

from hpc_sparse.config import parse_config
from hpc_sparse.errors import InputError
from hpc_sparse.inference import TrainedModel
from hpc_sparse.interop import torch_arrays
from hpc_sparse.interop.torch_arrays import bsr_arrays, recurrent_arrays, recurrent_layers
from hpc_sparse.network.network import Network

N_STEPS, N_IN, N_TOKENS = 5, 6, 9


def model(layers, *, reads_tokens=False):
    config = parse_config(
        f"""
        data = {{ path = "none.h5", standardize = false }}
        training = {{ epochs = 1, batch_size = 8 }}
        optimizer.learning_rate = 0.1
        network = {{ density = 0.5, layers = [{layers}] }}
        """,
        "test",
    )
    n_in, n_steps = (N_TOKENS if reads_tokens else N_IN), N_STEPS if "recurrent" in layers else 1
    network = Network.from_config(config.network, n_in, 3, seed=1, n_places=n_steps, reads_tokens=reads_tokens)
    rng = np.random.default_rng(0)
    for name, parameter in (each for layer in network.layers for each in layer.parameters().items()):
        if "bias" in name:
            parameter.values[:] = 0.3 * rng.normal(size=parameter.values.size)
    return TrainedModel(network, config, threads=1)


@pytest.mark.parametrize("cell", ["gru", "tanh"])
@pytest.mark.parametrize(
    "keys", ["", ', connections = "block", block = [4, 1]', ', connections = "n_of_m", pattern = "1:3"']
)
def test_stacked_recurrent_layers_have_the_states_of_torch(cell, keys):
    begin = f'{{ kind = "recurrent", cell = "{cell}"{keys}'
    own = model(f'{begin}, n = 12, output = "all" }}, {begin}, n = 8 }}')
    X = np.random.default_rng(1).normal(size=(7, N_STEPS, N_IN)).astype(np.float32)
    values = X.astype(np.float64)
    for state, n in zip(recurrent_layers(own), (12, 8), strict=True):
        assert {name: array.dtype for name, array in state.items()} == dict.fromkeys(state, np.dtype(np.float32))
        assert state["weight_hh_l0"].shape == ((3 if cell == "gru" else 1) * n, n)
        values = states_of_torch(cell, state, values)
    last = own.network.layers[-1].incoming.to_csr()
    sums = values[:, -1] @ last.toarray().T.astype(np.float64) + own.network.layers[-1].bias
    np.testing.assert_allclose(own.weighted_sums(X.reshape(7, -1)), sums, rtol=1e-5, atol=1e-5)


def test_a_token_is_a_row_with_one_1():
    own = model('{ kind = "recurrent", n = 8, output = "all" }', reads_tokens=True)
    X = np.random.default_rng(1).integers(0, N_TOKENS, (7, N_STEPS))
    values = states_of_torch("gru", recurrent_layers(own)[0], np.eye(N_TOKENS)[X])
    last = own.network.layers[-1].incoming.to_csr()
    sums = values @ last.toarray().T.astype(np.float64) + own.network.layers[-1].bias
    np.testing.assert_allclose(own.weighted_sums(X), sums, rtol=1e-5, atol=1e-5)


def test_blocks_are_those_of_a_bsr_matrix_and_copies():
    own = model('{ n = 10, connections = "block", block = [4, 4] }')
    connections = own.network.layers[0].incoming
    index, columns, values, size = bsr_arrays(connections)
    assert (index.dtype, columns.dtype, values.dtype, size) == (np.int64, np.int64, np.float32, (12, 8))
    dense = scipy.sparse.bsr_array((values, columns, index), shape=size).toarray()
    np.testing.assert_array_equal(dense[:10, :6], connections.to_csr().toarray())
    assert not dense[10:].any()
    assert not dense[:, 6:].any()
    values[:] = 0
    assert connections.weight.any()


def test_what_has_no_such_form_is_refused(monkeypatch):
    plain = model("{ n = 10 }")
    with pytest.raises(InputError, match="the network has no recurrent layer"):
        recurrent_layers(plain)
    with pytest.raises(InputError, match='connections "csr": expected "block"'):
        bsr_arrays(plain.network.layers[0].incoming)
    monkeypatch.setattr(torch_arrays, "LARGEST", 4 * 3 * 12 * 18)
    with pytest.raises(InputError, match=r"recurrent layer of 12 neurons: .* GB if dense: expected less"):
        recurrent_arrays(model('{ kind = "recurrent", n = 12 }').network.layers[0])
