"""The layer for PyTorch against the dense layer that it stands for; by PyTorch itself where that is installed."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest

import hpc_sparse.interop
from hpc_sparse.errors import ArrayError, DataError, InputError, MachineError, ParameterError

N_IN, N_OUT = 37, 23


@pytest.fixture
def layer(torch):
    made = hpc_sparse.interop.SparseLinear(N_IN, N_OUT, density=0.2, seed=1)
    made.bias.data.numpy()[:] = np.arange(N_OUT)
    return made


def numbers(torch, *shape):
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


def dense(layer):
    """W as float64[n_out, n_in]."""
    return layer.to_linear().weight.detach().numpy().astype(np.float64)


def pairs(layer):
    """Rows and columns of the connections, in the order of the weights."""
    state = layer.state_dict()
    indptr, indices = state["indptr"].numpy(), state["indices"].numpy()
    return np.repeat(np.arange(N_OUT), np.diff(indptr)), indices


@pytest.mark.parametrize("shape", [(), (1,), (40,), (3, 7)])
def test_outputs_and_gradients_are_those_of_a_dense_layer(torch, layer, shape):
    x, g = numbers(torch, *shape, N_IN).requires_grad_(), numbers(torch, *shape, N_OUT)
    y = layer(x)
    y.backward(g)
    weight, samples, delta = dense(layer), x.detach().numpy().reshape(-1, N_IN), g.numpy().reshape(-1, N_OUT)
    assert y.shape == (*shape, N_OUT)
    expected = samples @ weight.T + np.arange(N_OUT)
    np.testing.assert_allclose(y.detach().numpy().reshape(-1, N_OUT), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x.grad.numpy().reshape(-1, N_IN), delta @ weight, rtol=1e-5, atol=1e-5)
    of_pairs = (delta.T.astype(np.float64) @ samples)[pairs(layer)]
    np.testing.assert_allclose(layer.weight.grad.numpy(), of_pairs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.bias.grad.numpy(), delta.sum(axis=0), rtol=1e-5, atol=1e-5)


def test_only_what_is_wanted_gets_a_gradient(torch, layer):
    x = numbers(torch, 5, N_IN)
    layer(x).backward(numbers(torch, 5, N_OUT))
    assert x.grad is None
    assert layer.weight.grad is not None
    frozen = copy.deepcopy(layer)
    for parameter in frozen.parameters():
        parameter.requires_grad, parameter.grad = False, None
    x = x.clone().requires_grad_()
    frozen(x).backward(numbers(torch, 5, N_OUT))
    assert frozen.weight.grad is None
    np.testing.assert_allclose(x.grad.numpy(), numbers(torch, 5, N_OUT).numpy() @ dense(layer), rtol=1e-5, atol=1e-5)


def test_no_samples_give_no_outputs_and_gradients_of_0(torch, layer):
    x = numbers(torch, 1, N_IN)[:0].requires_grad_()
    y = layer(x)
    y.backward(numbers(torch, 1, N_OUT)[:0])
    assert y.shape == (0, N_OUT)
    assert x.grad.shape == (0, N_IN)
    assert not layer.weight.grad.numpy().any()


@pytest.mark.parametrize("strategy", ["set", "rigl", "srigl", "gse"])
def test_states_follow_their_connections(torch, strategy):
    layer = hpc_sparse.interop.SparseLinear(N_IN, N_OUT, density=0.2, strategy=strategy, seed=1)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(numbers(torch, 40, N_IN)).backward(numbers(torch, 40, N_OUT))
    n = layer.n_connections
    number = torch.from_numpy(np.arange(1, n + 1, dtype=np.float32))
    states = {"exp_avg": number.clone(), "exp_avg_sq": number.clone(), "step": torch.tensor(5.0)}
    optimizer.state[layer.weight] = states
    keys = np.ravel_multi_index(pairs(layer), (N_OUT, N_IN))
    weight, parameter = layer.weight.detach().numpy().copy(), layer.weight
    n_grown = layer.evolve(optimizer, 0.3)
    now = np.ravel_multi_index(pairs(layer), (N_OUT, N_IN))
    mean, square = (states[name].numpy() for name in ("exp_avg", "exp_avg_sq"))
    stays = mean != 0
    position = mean[stays].astype(np.int64) - 1
    assert 0 < n_grown == np.count_nonzero(~stays) < n
    assert layer.weight is parameter
    assert layer.weight.grad is None
    np.testing.assert_array_equal(keys[position], now[stays])
    np.testing.assert_array_equal(layer.weight.detach().numpy()[stays], weight[position])
    assert (layer.weight.detach().numpy()[~stays] != 0).any() == (strategy == "set")
    np.testing.assert_array_equal(square[stays], position + 1)
    np.testing.assert_allclose(square[~stays], square[stays].mean(), rtol=1e-6)
    assert states["step"].item() == 5


def test_a_layer_goes_on_from_its_state_as_if_it_had_never_stopped(torch, layer):
    layer.evolve(None)
    other = hpc_sparse.interop.SparseLinear(N_IN, N_OUT, density=0.5, seed=99)
    other.load_state_dict(layer.state_dict())
    for each in (layer, other):
        each.evolve(None)
    for name, values in layer.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), values.numpy(), err_msg=name)
    x = numbers(torch, 4, N_IN)
    assert other(x).detach().numpy().tobytes() == layer(x).detach().numpy().tobytes()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("indices", np.full(170, N_IN, np.int32), r"in row 0: must be >= 0 and < 37"),
        ("indptr", np.zeros(5, np.int32), "indptr: 5 numbers: expected 24 for 23 out_features"),
        ("weight", np.ones(3, np.float32), r"values: float32\[3\]: expected float32\["),
        ("indices", None, "indices"),
        ("stream", np.array([1, -1]), "stream: int64"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(torch, layer, name, values, said):
    before = layer(numbers(torch, 2, N_IN)).detach().numpy().copy()
    state = dict(layer.state_dict())
    if values is None:
        del state[name]
    else:
        state[name] = torch.from_numpy(np.resize(values, state[name].shape) if name == "indices" else values)
    with pytest.raises(RuntimeError, match=said):
        layer.load_state_dict(state)
    np.testing.assert_array_equal(layer(numbers(torch, 2, N_IN)).detach().numpy(), before)


def test_a_changed_state_or_parameter_cannot_mislead_kernels(torch, layer):
    x, before = numbers(torch, 2, N_IN), layer(numbers(torch, 2, N_IN)).detach().numpy().copy()
    layer.state_dict()["indices"].numpy()[:] = 1 << 30
    np.testing.assert_array_equal(layer(x).detach().numpy(), before)
    y = layer(x)
    layer.weight.data = torch.from_numpy(np.ones(3, np.float32))
    for use in (lambda: layer(x), lambda: y.backward(numbers(torch, 2, N_OUT)), lambda: layer.evolve(None)):
        with pytest.raises(ArrayError, match=r"weight \[3\]: expected \["):
            use()
    other = hpc_sparse.interop.SparseLinear(N_IN, N_OUT, density=0.2)
    other.bias.data = torch.from_numpy(np.ones(3, np.float32))
    with pytest.raises(ArrayError, match=r"bias \[3\]: expected \[23\]"):
        other(x)


def test_a_copy_shares_nothing(torch, layer):
    before = layer.weight.detach().numpy().copy()
    other = copy.deepcopy(layer)
    other.evolve(None)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before)
    assert not np.array_equal(pairs(other)[1], pairs(layer)[1])


def test_the_largest_weights_of_a_dense_layer_stay(torch):
    linear = torch.nn.Linear(N_IN, N_OUT)
    layer = hpc_sparse.interop.SparseLinear.from_linear(linear, 0.1, strategy="rigl", seed=3)
    weight = linear.weight.detach().numpy()
    limit = np.sort(np.abs(weight), axis=None)[-round(0.1 * weight.size)]
    np.testing.assert_array_equal(dense(layer), np.where(np.abs(weight) >= limit, weight, 0))
    np.testing.assert_array_equal(layer.bias.detach().numpy(), linear.bias.detach().numpy())
    assert 'strategy="rigl"' in repr(layer)


def test_a_csr_tensor_and_back(torch, layer):
    other = hpc_sparse.interop.SparseLinear.from_sparse_csr(layer.to_sparse_csr(), layer.bias)
    np.testing.assert_array_equal(dense(other), dense(layer))
    alone = hpc_sparse.interop.SparseLinear.from_sparse_csr(layer.to_sparse_csr())
    assert alone.bias is None
    assert alone.to_linear().bias is None
    x = numbers(torch, 3, N_IN)
    np.testing.assert_allclose(alone(x).detach().numpy() + np.arange(N_OUT), layer(x).detach().numpy(), rtol=1e-5)


def test_a_file_of_groups_gives_the_connections(torch, tmp_path):
    path = tmp_path / "pathways.csv"
    path.write_text("feature,group\nKRAS,growth\nTP53,repair\nTP53,growth\n")
    layer = hpc_sparse.interop.SparseLinear.from_groups(path, ["TP53", "KRAS"], seed=1)
    np.testing.assert_array_equal(dense(layer) != 0, [[True, True], [True, False]])
    assert layer.groups == ("growth", "repair")
    with pytest.raises(DataError, match=r'line 2: feature "KRAS" is not among the 1 of the data, such as "TP53"'):
        hpc_sparse.interop.SparseLinear.from_groups(path, ["TP53"])


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda torch: numbers(torch, 2, 5), ArrayError, r"input \[2, 5\]: expected \[..., 37\], the in_features"),
        (lambda torch: numbers(torch, 2, N_IN).double(), ArrayError, "float64: expected torch.float32"),
        (lambda torch: torch.empty(2, N_IN, device="meta"), MachineError, "on the CPU alone, expected input.cpu"),
        (lambda torch: [1.0], ArrayError, "input is a list: expected a torch.Tensor"),
    ],
)
def test_a_wrong_input_is_refused_in_words(torch, layer, make, error, said):
    with pytest.raises(error, match=said):
        layer(make(torch))


def test_wrong_use_is_refused_in_words(torch, layer):
    x, g = numbers(torch, 5, N_IN), numbers(torch, 5, N_OUT)
    late = layer(x)
    layer.evolve(None)
    with pytest.raises(InputError, match="connections have changed since the forward pass: call evolve"):
        late.backward(g)
    stepped = layer(x)
    layer.weight.copy_(layer.weight.detach().clone()) if hasattr(layer.weight, "version") else _touch(torch, layer)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        stepped.backward(g)
    other = torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(ParameterError, match="does not step the weight of this layer"):
        layer.evolve(other)
    with pytest.raises(ParameterError, match=r"optimizer is a str: expected one of torch.optim, or None"):
        layer.evolve("adam")
    with pytest.raises(ParameterError, match="drop_fraction = 7: expected a number from 0 to 1"):
        layer.evolve(None, 7)
    with pytest.raises(ParameterError, match=r"linear is a SparseLinear: expected a torch\.nn\.Linear"):
        hpc_sparse.interop.SparseLinear.from_linear(layer, 0.5)
    with pytest.raises(ArrayError, match="expected a matrix in sparse_csr"):
        hpc_sparse.interop.SparseLinear.from_sparse_csr(x)
    guided = hpc_sparse.interop.SparseLinear(N_IN, N_OUT, density=0.2, strategy="rigl")
    with pytest.raises(InputError, match='"rigl" grows by gradients: expected a backward pass since the last change'):
        guided.evolve(None)
    layer.weight.data.numpy()[4] = np.nan
    with pytest.raises(ArrayError, match=r"weight\[4\] = nan: must be finite"):
        layer.evolve(None)


def _touch(torch, layer):
    with torch.no_grad():
        layer.weight.add_(1)


def test_without_pytorch_the_layer_is_refused_with_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("sparse_linear", "torch_tensors", "torch_states", "torch_module"):
        monkeypatch.delitem(sys.modules, f"hpc_sparse.interop.{name}", raising=False)
    with pytest.raises(MachineError, match=r"SparseLinear: needs PyTorch, .*: pip install torch"):
        _ = hpc_sparse.interop.SparseLinear
