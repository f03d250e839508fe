"""Kinds of connections and of layers that only this file knows: they train, sync, evolve, go on, plan and predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest

from hpc_sparse.config import LayerSection, RunConfig, load_config
from hpc_sparse.config.layers import CONNECTION_KINDS, LAYER_SECTIONS
from hpc_sparse.errors import ConfigError, FileFormatError, HpcSparseError
from hpc_sparse.inference import load_model
from hpc_sparse.interop.exchange import export_model, import_model
from hpc_sparse.models.inspection import evaluate_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import INPUT, ConnectionBytes, Connections, Epilogue, Gate
from hpc_sparse.network.connections.registry import (
    CONNECTIONS,
    connections_from_state,
    random_connections,
    register_connections,
)
from hpc_sparse.network.connections.state import ConnectionState, StoredSize, StoredSizes
from hpc_sparse.network.connections.topology import Topology
from hpc_sparse.network.layers.protocol import SavedArray
from hpc_sparse.network.layers.registry import LAYERS, register_layer
from hpc_sparse.network.layers.sparse import sparse_layers
from hpc_sparse.network.layers.state import LayerState
from hpc_sparse.network.parameter import Parameter
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.dataset.file import load_samples, read_info
from hpc_sparse.storage.verification import verify_container

CONFIG = """
[data]
path = "data.h5"
[network]
epsilon = 4
dropout = 0.1
[[network.layers]]
n = 24
connections = "keys"
[[network.layers]]
kind = "gained"
n = 17
start = 1.25
[[network.layers]]
n = 20
activation = "relu"
[training]
epochs = 3
batch_size = 20
[checkpoint]
keep_last = 3
[optimizer]
learning_rate = 0.05
[runtime]
threads = 1
oversubscribe = true
"""
ONE = np.float32(1)


@dataclass
class Keys:
    """Unstructured connections whose structure is one array, ``out * n_in + in`` of each."""

    kind: ClassVar[str] = "keys"
    values_per_unit: ClassVar[int] = 1
    topology: Topology
    weight: np.ndarray

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        drawn = Csr.random(blueprint)
        return cls(drawn.topology, drawn.weight)

    @property
    def shape(self) -> tuple[int, int]:
        return self.topology.shape

    @property
    def _rows(self) -> Csr:
        return Csr(self.topology, self.weight)

    def product(self, source: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        self._rows.product(source, epilogue, out)

    def product_alone(self, source: np.ndarray, bias: np.ndarray, slope: np.float32, out: np.ndarray) -> None:
        self._rows.product_alone(source, bias, slope, out)

    def transposed(self, delta: np.ndarray, gate: Gate | None, out: np.ndarray) -> None:
        self._rows.transposed(delta, gate, out)

    def gradient(self, delta: np.ndarray, source: np.ndarray, sink: Any) -> None:
        sink.accept(self.gradient_of(delta, source), delta.sum(axis=1, dtype=np.float32))

    def transposed_and_gradient(
        self, delta: np.ndarray, source: np.ndarray, gate: Gate | None, sink: Any, out: np.ndarray
    ) -> None:
        gradients = self.gradient_of(delta, source), delta.sum(axis=1, dtype=np.float32)
        self.transposed(delta, gate, out)
        sink.accept(*gradients)

    def gradient_of(self, delta: np.ndarray, source: np.ndarray) -> np.ndarray:
        ends = self.topology.outs(), self.topology.indices
        return np.einsum("ij,ij->i", delta[ends[0]], source[ends[1]], dtype=np.float32)

    def structure(self) -> Mapping[str, np.ndarray]:
        return {"keys": self.topology.keys()}

    def structure_dtypes(self, sizes: Sequence[int]) -> list[Any]:
        return [np.int64]

    def rebuilt(self, shape: tuple[int, int], structure: Mapping[str, np.ndarray], weight: np.ndarray) -> Self:
        return self.rewired(Topology.from_keys(shape, structure["keys"]), weight)

    def rewired(self, topology: Topology, weight: np.ndarray) -> Self:
        return replace(self, topology=topology, weight=weight)

    def copy(self) -> Self:
        return replace(self, weight=self.weight.copy())

    def incoming_strength(self) -> np.ndarray:
        return np.bincount(self.topology.outs(), np.abs(self.weight), self.shape[0])

    def outgoing_strength(self) -> np.ndarray:
        return np.bincount(self.topology.indices, np.abs(self.weight), self.shape[1])

    def to_csr(self) -> Any:
        return self.topology.matrix(self.weight)

    @classmethod
    def n_bytes(cls, n_out: int, n_in: int, n_connections: int) -> ConnectionBytes:
        return ConnectionBytes({"keys": 8 * n_connections}, 4 * n_connections, 0)

    def state(self) -> ConnectionState:
        return ConnectionState(self.kind, self.shape, self.topology.n_connections, self.structure())

    @classmethod
    def stored_sizes(cls, shape: tuple[int, int], n_units: int, settings: Mapping[str, Any]) -> StoredSizes:
        return StoredSizes({"keys": StoredSize(np.int64, n_units)}, n_units)

    @classmethod
    def check_state(cls, where: str, state: ConnectionState) -> None:
        keys, (n_out, n_in) = state.structure["keys"], state.shape
        if keys.size and not (keys[0] >= 0 and keys[-1] < n_out * n_in and (np.diff(keys) > 0).all()):
            raise FileFormatError(f"{where}/keys: expected increasing ones below {n_out * n_in}")

    @classmethod
    def from_state(cls, state: ConnectionState, weight: np.ndarray) -> Self:
        return cls(Topology.from_keys(state.shape, state.structure["keys"]), weight)


class GainedSection(LayerSection):
    """``gain * tanh(W x + b)``."""

    start: float = 1.0
    """The gain of each neuron at first."""

    @classmethod
    def refuses(cls, config: RunConfig) -> str | None:
        if config.training.activations != "float32":
            return f'kind = "gained": not with training.activations = "{config.training.activations}"; use "float32"'
        return None


@dataclass
class Gained:
    """A layer with a third parameter, which applies its own derivative, for which it keeps its output."""

    kind: ClassVar[str] = "gained"
    section: ClassVar[type[LayerSection]] = GainedSection
    keeps_output: ClassVar[bool] = True
    weights: ClassVar[Mapping[str, str]] = {INPUT: "weight"}
    activation: ClassVar[str] = "tanh"
    incoming: Connections
    bias: np.ndarray
    gain: np.ndarray

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        n_out = blueprint.shape[0]
        assert isinstance(blueprint.section, GainedSection)
        gain = np.full(n_out, blueprint.section.start, np.float32)
        return cls(random_connections(blueprint), np.zeros(n_out, np.float32), gain)

    @property
    def shape(self) -> tuple[int, int]:
        return self.incoming.shape

    def connections(self) -> Mapping[str, Connections]:
        return {INPUT: self.incoming}

    def parameters(self) -> Mapping[str, Parameter]:
        return {
            "weight": Parameter(self.incoming.weight, INPUT, True),
            "bias": Parameter(self.bias, None, False),
            "gain": Parameter(self.gain, None, False),
        }

    def settings(self) -> Mapping[str, Any]:
        return {}

    def bind(self, values: Mapping[str, np.ndarray]) -> None:
        self.incoming.weight = values.get("weight", self.incoming.weight)
        self.bias, self.gain = values.get("bias", self.bias), values.get("gain", self.gain)

    def rewire(
        self, shape: tuple[int, int], topologies: Mapping[str, Topology], values: Mapping[str, np.ndarray]
    ) -> None:
        self.incoming = self.incoming.rewired(topologies.get(INPUT, self.incoming.topology), values["weight"])
        self.bias, self.gain = values["bias"], values["gain"]

    def copy(self) -> Self:
        return replace(self, incoming=self.incoming.copy(), bias=self.bias.copy(), gain=self.gain.copy())

    def saved_arrays(self, width: int) -> Mapping[str, SavedArray]:
        return {"tanh": SavedArray((self.shape[0], width), np.float32)}

    @classmethod
    def saved_bytes(cls, n_out: int, width: int) -> int:
        return 4 * n_out * width

    def forward(self, source: np.ndarray, out: np.ndarray, saved: Any, dropout: Any) -> None:
        self.incoming.product(source, Epilogue(self.bias, ONE), out)
        np.tanh(out, out=out)
        if saved is not None:
            saved["tanh"][:] = out
        out *= self.gain[:, None]

    def forward_alone(self, source: np.ndarray, out: np.ndarray) -> None:
        self.incoming.product_alone(source, self.bias, ONE, out)
        np.tanh(out, out=out)
        out *= self.gain

    def gate(self, saved: Any, dropout: Any) -> None:
        return None

    def backward(
        self, delta: np.ndarray, source: np.ndarray, saved: Any, gate_below: Gate | None, sink: Any, out: Any
    ) -> None:
        values = saved["tanh"]
        gain_gradient = (delta * values).sum(axis=1, dtype=np.float32)
        delta *= self.gain[:, None] * (1 - values * values)
        if sink is None:
            if out is not None:
                self.incoming.transposed(delta, gate_below, out)
            return
        target = sink.map(self.incoming.weight, self.bias, ("weight", "bias"))
        if out is None:
            self.incoming.gradient(delta, source, target)
        else:
            self.incoming.transposed_and_gradient(delta, source, gate_below, target, out)
        sink.accept("gain", self.gain, gain_gradient, decays=False)

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Any]
    ) -> Mapping[str, int]:
        return {"weight": n_values[INPUT], "bias": shape[0], "gain": shape[0]}

    @classmethod
    def from_state(cls, state: LayerState, config: Any, number: int, *, is_last: bool, acting_share: float) -> Self:
        state.check_shapes({INPUT: state.shape})
        incoming = connections_from_state(state.connections[INPUT], state.parameters["weight"], acting_share)
        return cls(incoming, state.parameters["bias"], state.parameters["gain"])


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register_connections(Keys)
    register_layer(Gained)
    yield
    del CONNECTIONS["keys"], LAYERS["gained"], LAYER_SECTIONS["gained"]
    CONNECTION_KINDS.remove("keys")


@pytest.fixture
def folder(ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]) -> Path:
    """With a configuration and data."""

    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        write_small_data(mpi_tmp_path / "data.h5")

    on_root(ctx, write)
    return mpi_tmp_path


def run(ctx: ParallelContext, folder: Path, name: str, *overrides: str) -> Path:
    """Train, or go on, and give the newest checkpoint."""
    request = RunRequest(folder / "run.toml", overrides, folder / name, resume="auto")
    train_run(ctx, request, SilentReporter())
    newest = on_root(ctx, lambda: newest_checkpoint(folder / name / "checkpoints"))
    assert newest is not None
    return newest


def check_same(one: Path, other: Path) -> None:
    """Two checkpoints hold the same network, bit for bit."""
    found = [read_checkpoint(ParallelContext.serial(threads=1), path).layers for path in (one, other)]
    for layers in zip(*found, strict=True):
        arrays, others = (layer.arrays() for layer in layers)
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, others[name], err_msg=name)


def check_files(folder: Path, path: Path) -> None:
    """On one process: storage, planning, evaluation, prediction and export."""
    alone, data = ParallelContext.serial(threads=1), folder / "data.h5"
    verify_container(path)
    state, info = read_checkpoint(alone, path), read_info(data)
    assert [layer.kind for layer in state.layers] == ["sparse", "gained", "sparse", "sparse"]
    assert state.layers[0].connections[INPUT].structure.keys() == {"keys"}
    gain = state.layers[1].parameters["gain"]
    assert state.layers[1].states["gain_velocity"].any()
    assert (np.abs(gain - 1.25) > 1e-6).any()

    size = NetworkSize.expected(load_config(folder / "run.toml").network, info.n_features, info.n_classes)
    items = {item.name: item.n_bytes for item in plan_memory(load_config(folder / "run.toml"), size, info, 1).items}
    assert items["keys"] == 8 * size.layers[0].n_connections
    assert size.n_parameters - size.n_connections == 24 + 2 * 17 + 20 + info.n_classes
    stored = read_checkpoint_info(path)
    assert stored.n_parameters - stored.n_connections == 24 + 2 * 17 + 20 + info.n_classes

    test = load_samples(data, "test")
    values = test.features.values  # type: ignore[union-attr]
    model = load_model(path)
    found = model.weighted_sums(values)
    np.testing.assert_allclose(found, outputs(state, values), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.weighted_sums(values[:1]), found[:1], rtol=1e-6)
    accuracy = evaluate_checkpoint(alone, path, data)["test_accuracy"]
    assert accuracy == np.mean(model.predict(values) == test.labels) > 0.8
    check_export(folder, path, values)


def check_export(folder: Path, path: Path, values: np.ndarray) -> None:
    """As an archive and back: the same weighted sums. Programs that know one kind of layers get one message."""
    archive, back = path.with_suffix(".npz"), path.with_name("back.h5")
    export_model(path, archive)
    import_model(archive, back)
    model = load_model(path)
    np.testing.assert_allclose(load_model(back).weighted_sums(values), model.weighted_sums(values), rtol=1e-5)
    with pytest.raises(HpcSparseError, match='layer 1 is of the kind "gained": expected "sparse" in all layers'):
        sparse_layers(model.network)


def outputs(state: Any, values: np.ndarray) -> np.ndarray:
    """What the network gives, in float64 and by dense matrices."""
    values = (values.astype(np.float64) - state.mean) / state.deviation
    rules = (
        lambda sums, _: np.where(sums >= 0, sums, -0.6 * sums),
        lambda sums, layer: layer.parameters["gain"] * np.tanh(sums),
        lambda sums, _: np.maximum(sums, 0),
        lambda sums, _: sums,
    )
    for layer, rule in zip(state.layers, rules, strict=True):
        connections = connections_from_state(layer.connections[INPUT], layer.parameters["weight"])
        values = rule(values @ connections.to_csr().toarray().T + layer.parameters["bias"], layer)
    return values


@pytest.mark.mpi(ranks=[2])
def test_kinds_of_their_own_go_all_the_way(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[[type[HpcSparseError], Callable[[], object]], str],
) -> None:
    for parallel in ((), ("parallel.replica_topology=independent",), ("parallel.algorithm=wassp",)):
        name = "-".join(("run", *parallel)).replace("=", "-")
        whole = run(ctx, folder, f"{name}-whole", *parallel)
        run(ctx, folder, f"{name}-parts", "training.epochs=1", *parallel)
        parts = run(ctx, folder, f"{name}-parts", *parallel)
        if not any("wassp" in option for option in parallel):  # which ends with its own phase in the last epoch
            on_root(ctx, lambda whole=whole, parts=parts: check_same(whole, parts))
        on_root(ctx, lambda whole=whole: check_files(folder, whole))
    for strategy in ("rigl", "gse", "snfs", "deep_r", "cht"):
        run(ctx, folder, strategy, f"evolution.strategy={strategy}", "training.epochs=2")
    barrier(ctx)
    message = same_error_everywhere(ConfigError, lambda: run(ctx, folder, "refused", "training.activations=bfloat16"))
    assert 'network.layers.1: kind = "gained": not with training.activations = "bfloat16"' in message
