"""A truly sparse layer for PyTorch's own training loops; imported only where PyTorch is wanted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from hpc_sparse.dtypes import VALUE, Float32Array
from hpc_sparse.errors import ArrayError, InputError, ParameterError
from hpc_sparse.importers.membership import read_membership
from hpc_sparse.interop.first_connections import (
    check_density,
    check_drop_fraction,
    check_initializer,
    check_shape,
    check_threads,
    checked_stream,
    connections_of,
    draw_connections,
    find_strategy,
)
from hpc_sparse.interop.magnitude_pruning import strongest_connections
from hpc_sparse.interop.torch_module import BETA_NOTICE
from hpc_sparse.interop.torch_states import check_steps, follow_states
from hpc_sparse.interop.torch_tensors import as_tensor, check_tensor, checked_array, plain_array
from hpc_sparse.interop.trainable_map import TrainableMap
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.initial_weights import draw_weights
from hpc_sparse.network.connections.registry import unstructured
from hpc_sparse.rng import Purpose, stream_key

STREAM = "stream"
"""Name in a ``state_dict`` of the seed and the number of changes, by which random numbers go on."""

CONNECTIONS = ("indptr", "indices")


class SparseLinear(torch.nn.Module):
    """A layer ``y = x W^T + b`` that stores, multiplies and differentiates the connections of W alone.

    Neither pass makes a dense W or a gradient of its size. Computes on the CPU, in float32. ``weight`` is one
    ``Parameter``, float32[n_connections], row by row; any optimiser of PyTorch may step it.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        With a bias for each output, which begins with 0.
    density, epsilon, fan_in : float, float, int
        One of them: the share of all pairs that is connected; SET's epsilon, which gives
        ``epsilon (n_in + n_out) / (n_in n_out)``; incoming connections of each output.
    initial_topology : str
        "erdos_renyi", "constant_fan_in", "lognormal_fan_in", "small_world" or "scale_free".
    initializer : str
        First weights: "he_fan_in", "he_uniform", "xavier_uniform" or "normal".
    strategy : str
        What :meth:`evolve` does: "set", "rigl", "srigl" or "gse". All but "set" keep the signals of the last batch.
    seed : int, optional
        Of all random numbers; by default drawn from PyTorch's generator.
    threads : int, optional
        Largest number; by default as many as PyTorch uses.

    Attributes
    ----------
    weight : torch.nn.Parameter
    bias : torch.nn.Parameter or None
    groups : tuple of str or None
        Names of the outputs, of a layer from a file of groups.

    Raises
    ------
    ParameterError
        An argument is wrong; it is a ``ValueError``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        density: float | None = None,
        epsilon: float | None = None,
        fan_in: int | None = None,
        initial_topology: str = "erdos_renyi",
        initializer: str = "he_fan_in",
        strategy: str = "set",
        seed: int | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        shape = check_shape(in_features, out_features)
        check_threads(threads)
        seed, updater = _seed(seed), find_strategy(strategy)
        amount = {"density": density, "epsilon": epsilon, "fan_in": fan_in}
        drawn = draw_connections(shape, initial_topology, check_initializer(initializer), seed, **amount)  # type: ignore[arg-type]
        self.threads = threads
        self.groups: tuple[str, ...] | None = None
        self._map = TrainableMap(drawn, updater, initializer, seed)
        self.weight = torch.nn.Parameter(torch.from_numpy(drawn.weight))
        self.bias = torch.nn.Parameter(torch.zeros(shape[0])) if bias else None

    @classmethod
    def from_linear(cls, linear: torch.nn.Linear, density: float, **settings: Any) -> Self:
        """The layer that keeps the connections of a dense one whose weights are largest.

        Parameters
        ----------
        linear : torch.nn.Linear
            Stays as it is.
        density : float
            Share of its weights that stay, at least one; of equally large ones the first.
        **settings
            ``strategy``, ``initializer``, ``seed`` and ``threads`` as for a new layer.
        """
        check_density(density)
        if not isinstance(linear, torch.nn.Linear):
            raise ParameterError(f"linear is a {type(linear).__name__}: expected a torch.nn.Linear")
        weight = checked_array("linear.weight", linear.weight)
        kept = unstructured(*strongest_connections(weight, density))
        return cls._with_connections(kept, linear.bias, settings)

    @classmethod
    def from_sparse_csr(cls, weight: torch.Tensor, bias: torch.Tensor | None = None, **settings: Any) -> Self:
        """The layer with the connections and weights of a CSR tensor (n_out, n_in); settings as for a new layer."""
        if not isinstance(weight, torch.Tensor):
            raise ArrayError(f"weight is a {type(weight).__name__}: expected a torch.Tensor in sparse_csr")
        if weight.layout != torch.sparse_csr or weight.dim() != 2:
            raise ArrayError(f"weight: {weight.layout} of {weight.dim()} dimensions: expected a matrix in sparse_csr")
        parts = weight.crow_indices(), weight.col_indices(), weight.values()
        indptr, indices, values = (plain_array(part) for part in parts)
        n_out, n_in = check_shape(weight.shape[1], weight.shape[0])
        return cls._with_connections(connections_of("weight", indptr, indices, values, (n_out, n_in)), bias, settings)

    @classmethod
    def from_groups(
        cls,
        path: Path | str,
        features: int | Sequence[str],
        bias: bool = True,
        *,
        allow_missing: bool = False,
        **settings: Any,
    ) -> Self:
        """The layer with an output for each group of a file, such as pathways, connected to its members alone.

        Their weights are random. Connections stay what they are unless :meth:`evolve` is called.

        Parameters
        ----------
        path : path
            See :func:`hpc_sparse.importers.membership.read_membership`.
        features : int or sequence of str
            How many there are, or their names in the order of the inputs.
        bias : bool
        allow_missing : bool
            Whether features may belong to no group.
        **settings
            As for a new layer.

        Raises
        ------
        DataError
            The file has a pair twice or out of range, a name that is no feature, or leaves out a feature.
        """
        names = None if isinstance(features, int) else [str(name) for name in features]
        n_features = features if isinstance(features, int) else len(features)
        check_shape(n_features, 1)
        found = read_membership(Path(path), n_features, names, allow_missing=allow_missing)
        layer = cls(n_features, len(found.groups), bias, fan_in=1, **settings)
        key = stream_key(layer._map.seed, Purpose.WEIGHTS)
        layer._adopt(unstructured(found.topology, draw_weights(layer._map.initializer, found.topology, key)))
        layer.groups = found.groups
        return layer

    @classmethod
    def _with_connections(cls, connections: Csr, bias: torch.Tensor | None, settings: dict[str, Any]) -> Self:
        n_out, n_in = connections.shape
        layer = cls(n_in, n_out, bias is not None, fan_in=1, **settings)
        layer._adopt(connections)
        if layer.bias is not None and bias is not None:
            with torch.no_grad():
                layer.bias.copy_(bias)
        return layer

    @property
    def in_features(self) -> int:
        """Inputs."""
        return self._map.shape[1]

    @property
    def out_features(self) -> int:
        """Outputs."""
        return self._map.shape[0]

    @property
    def n_connections(self) -> int:
        """Stored connections, which is the length of ``weight``."""
        return self._map.connections.topology.n_connections

    @property
    def density(self) -> float:
        """Stored connections as a share of all pairs."""
        return self._map.connections.topology.density

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs float32[..., out_features] of inputs float32[..., in_features].

        Raises
        ------
        ArrayError
            The input has another shape, type or layout; it is a ``ValueError``.
        MachineError
            The input or the layer is on another device than the CPU.
        """
        check_tensor("input", x)
        if x.dim() == 0 or x.shape[-1] != self.in_features:
            shape = f"[..., {self.in_features}], the in_features"
            raise ArrayError(f"SparseLinear: input {list(x.shape)}: expected {shape}")
        samples = x.reshape(-1, self.in_features)
        outputs = _Product.apply(samples, self.weight, self.bias, self)
        return outputs.reshape(*x.shape[:-1], self.out_features)

    @torch.no_grad()
    def evolve(self, optimizer: torch.optim.Optimizer | None, drop_fraction: float = 0.3) -> int:
        """Let a share of the connections go and as many others come; the number of new ones.

        Call it after a step of the optimiser. ``weight`` stays the same ``Parameter`` with other values; its gradient
        is forgotten. What the optimiser keeps of connections follows them: those that stay keep theirs, new ones begin
        with a momentum of 0, and with the mean of all others where squares of gradients are averaged (Adam, RMSprop).
        A 0 there would be divided by in their first steps.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer or None
            The one that steps ``weight``; None if there is none, or it keeps nothing.
        drop_fraction : float
            Share of the connections (SET: of each sign) that is replaced.

        Raises
        ------
        ParameterError
            The share is none, or the optimiser does not step ``weight``.
        InputError
            The strategy needs a backward pass first.
        """
        check_drop_fraction(drop_fraction)
        check_steps(optimizer, self.weight)
        before = self._vector("weight", self.weight)
        with at_most_threads(self._n_threads()):
            change, weight = self._map.evolve(before, float(drop_fraction))
        self.weight.copy_(torch.from_numpy(weight))
        self.weight.grad = None
        if optimizer is not None:
            follow_states(optimizer.state.get(self.weight, {}), self.weight, change)
        return change.n_grown

    @torch.no_grad()
    def to_linear(self) -> torch.nn.Linear:
        """A dense layer with the same outputs, zeros where there is no connection; a copy."""
        linear = torch.nn.Linear(self.in_features, self.out_features, self.bias is not None)
        topology = self._map.connections.topology
        linear.weight.zero_()
        rows, columns = torch.from_numpy(topology.outs()), torch.from_numpy(topology.indices.astype(np.int64))
        linear.weight[rows, columns] = self.weight
        if self.bias is not None:
            linear.bias.copy_(self.bias)
        return linear

    @torch.no_grad()
    def to_sparse_csr(self) -> torch.Tensor:
        """W as a CSR tensor (n_out, n_in); a copy."""
        topology = self._map.connections.topology
        indptr, indices = (torch.from_numpy(array.astype(np.int64)) for array in topology.rows)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=BETA_NOTICE)
            return torch.sparse_csr_tensor(indptr, indices, self.weight.clone(), topology.shape, check_invariants=False)

    def extra_repr(self) -> str:
        """What is shown of the layer."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, connections={self.n_connections}, "
            f'density={self.density:.4g}, bias={self.bias is not None}, strategy="{self._map.strategy.name}"'
        )

    def _n_threads(self) -> int:
        return self.threads or int(torch.get_num_threads())

    def _vector(self, name: str, tensor: torch.Tensor | None) -> Float32Array:
        """The numbers of a parameter, as many as kernels will read."""
        n = self.n_connections if name == "weight" else self.out_features
        if tensor is None:
            return np.zeros(n, VALUE)
        values = checked_array(name, tensor)
        if values.shape != (n,):
            raise ArrayError(f"SparseLinear: {name} {list(values.shape)}: expected [{n}]")
        return values

    def _adopt(self, connections: Csr) -> None:
        """Go on with other connections and their weights."""
        self._map.connections = connections
        self.weight.data = torch.from_numpy(connections.weight)
        self.weight.grad = None

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Add the parameters, the connections, and where the random numbers are."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, array in zip(CONNECTIONS, self._map.connections.topology.rows, strict=True):
            destination[f"{prefix}{name}"] = torch.from_numpy(array.copy())
        destination[f"{prefix}{STREAM}"] = torch.tensor([self._map.seed, self._map.n_changes])

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take connections and weights together, of whatever number; all or nothing."""
        own = (*CONNECTIONS, STREAM)
        missing = [f"{prefix}{name}" for name in (*own, "weight") if f"{prefix}{name}" not in state_dict]
        if missing:
            missing_keys.extend(missing)
            return
        indptr, indices, weight = (plain_array(state_dict[f"{prefix}{name}"]) for name in (*CONNECTIONS, "weight"))
        stream, where = plain_array(state_dict[f"{prefix}{STREAM}"]), prefix.rstrip(".") or "SparseLinear"
        try:
            seed, n_changes = checked_stream(where, stream)
            self._adopt(connections_of(where, indptr, indices, weight, self._map.shape))
        except InputError as error:
            error_msgs.append(str(error))
            return
        self._map.seed, self._map.n_changes = seed, n_changes
        rest = {name: value for name, value in state_dict.items() if name not in {f"{prefix}{each}" for each in own}}
        super()._load_from_state_dict(rest, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)


class _Product(torch.autograd.Function):
    """The product and its derivatives, once."""

    @staticmethod
    def forward(
        ctx: Any, samples: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, layer: SparseLinear
    ) -> torch.Tensor:
        weights, biases = layer._vector("weight", weight), layer._vector("bias", bias)
        with at_most_threads(layer._n_threads()):
            outputs, source = layer._map.product(checked_array("input", samples), weights, biases)
        ctx.save_for_backward(weight)
        ctx.source, ctx.layer, ctx.connections = source, layer, layer._map.connections
        return torch.from_numpy(outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, delta: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        layer = ctx.layer
        if layer._map.connections is not ctx.connections:
            raise InputError(
                "SparseLinear: the connections have changed since the forward pass: call evolve, or load a state, "
                "after the backward pass and the step"
            )
        (weight,) = ctx.saved_tensors
        of_samples, of_weight, of_bias, _ = ctx.needs_input_grad
        wanted = {"of_samples": of_samples, "of_parameters": of_weight or of_bias}
        above, weights = checked_array("gradient", delta), layer._vector("weight", weight)
        with at_most_threads(layer._n_threads()):
            found = layer._map.gradients(above, ctx.source, weights, **wanted)
        return as_tensor(found.samples), as_tensor(found.weight, of_weight), as_tensor(found.bias, of_bias), None


def _seed(seed: Any) -> int:
    if seed is None:
        return int(torch.randint(0, 1 << 62, (1,)).item())
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 63:
        raise ParameterError(f"seed = {seed!r}: expected a whole number from 0 to {(1 << 63) - 1}")
    return int(seed)
