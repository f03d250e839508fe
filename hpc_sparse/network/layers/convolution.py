"""Convolutional layers: sparse taps that all places share, then activation, sampling, and a mean over all places.

A batch has a place for each pixel of an image, whose neurons are its channels. Images have no edges: what leaves on one
side comes in on the other. Which taps there are is learned: the connections lead from (row, column, channel) around a
place to its neurons, and evolve as all others do.

With ``sampling = "polyphase"`` (Chaman, Dokmanic 2021, arXiv 2011.14214) and a mean at the end, outputs do not depend
on where an image lies, to the bit. Sums over places are exact (:mod:`hpc_sparse.kernels.convolution.order_free`), and
equal norms are settled by what the phases hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from hpc_sparse.config import LayerSection, NetworkSection
from hpc_sparse.dtypes import VALUE, Float32Array, Float64Array, Int32Array
from hpc_sparse.errors import quoted
from hpc_sparse.kernels.convolution.derivative import differentiate_all
from hpc_sparse.kernels.simd.buffers import aligned_empty
from hpc_sparse.kernels.sparse.gradient import bias_gradients
from hpc_sparse.network.activations import NEGATIVE_SLOPES, negative_slope
from hpc_sparse.network.blueprint import LayerBlueprint
from hpc_sparse.network.connections.csr import Csr
from hpc_sparse.network.connections.protocol import INPUT, Connections, Gate, exact_matrix
from hpc_sparse.network.connections.registry import connections_from_state, random_connections
from hpc_sparse.network.connections.state import Setting
from hpc_sparse.network.connections.topology import Topology, erdos_renyi_density
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.layers.alone import forward_alone_by_places
from hpc_sparse.network.layers.convolution_section import ConvolutionSection
from hpc_sparse.network.layers.exact_sampling import exact_samples
from hpc_sparse.network.layers.protocol import Saved, SavedArray
from hpc_sparse.network.layers.samplers import NORMS, Sampler
from hpc_sparse.network.layers.state import PLACES, LayerState
from hpc_sparse.network.layers.taps import TapProducts, shifts_of
from hpc_sparse.network.parameter import Parameter
from hpc_sparse.network.sinks import DescendMap, Sink
from hpc_sparse.network.tiles import BatchShape, Tiles

NAMES = ("weight", "bias")
"""Names of the parameters."""

SETTINGS = ("kernel", "sampling", "norm", "pool", "rows", "columns", PLACES)
"""Names of the settings in files."""

KNOWN = {
    "sampling": ("none", "stride", "blur", "polyphase", "polyphase_blur"),
    "norm": tuple(NORMS),
    "pool": ("none", "average"),
}


@dataclass
class ConvolutionLayer:
    """A layer ``sample(f(W x + b))`` of images.

    Attributes
    ----------
    incoming : Csr
        The taps W, from (shift, channel) to the neurons of a place.
    bias : float32[n_out]
    activation : str
    kernel : int
        Rows and columns of places that taps may read.
    sampler : Sampler
        What follows the sums.
    """

    kind: ClassVar[str] = "convolution"
    section: ClassVar[type[LayerSection]] = ConvolutionSection
    keeps_output: ClassVar[bool] = False
    weights: ClassVar[Mapping[str, str]] = {INPUT: "weight"}
    incoming: Csr
    bias: Float32Array
    activation: str
    kernel: int
    sampler: Sampler

    def __post_init__(self) -> None:
        self._products: TapProducts | None = None

    @classmethod
    def random(cls, blueprint: LayerBlueprint) -> Self:
        """A new layer, its biases 0."""
        section, n = _section(blueprint), blueprint.shape[0]
        slope = VALUE(negative_slope(blueprint.activation, blueprint.alpha, blueprint.number + 2))
        sampler = Sampler(section.sampling, section.norm, section.pool == "average", _sides(blueprint), n, slope)
        incoming = random_connections(cls.maps(blueprint)[INPUT])
        assert isinstance(incoming, Csr)
        return cls(incoming, np.zeros(n, VALUE), blueprint.activation, section.kernel, sampler)

    @classmethod
    def maps(cls, blueprint: LayerBlueprint) -> Mapping[str, LayerBlueprint]:
        """The taps of all neurons."""
        section, (n, n_in) = _section(blueprint), blueprint.shape
        n_read, density = section.kernel**2 * n_in, blueprint.density
        is_given = section.kind_of_connections.density_of(section, n_read) is not None
        if not is_given and blueprint.epsilon is not None:
            density = erdos_renyi_density(blueprint.epsilon, n_read, n)
        return {INPUT: replace(blueprint, shape=(n, n_read), density=density)}

    @property
    def shape(self) -> tuple[int, int]:
        """(n_out, n_in) of each place."""
        return self.incoming.shape[0], self.incoming.shape[1] // self.kernel**2

    @property
    def n_places(self) -> int:
        """Places of an image."""
        return self.sampler.n_places

    @property
    def reads_tokens(self) -> bool:
        """False: its inputs are numbers."""
        return False

    def connections(self) -> Mapping[str, Connections]:
        """The taps."""
        return {INPUT: self.incoming}

    def parameters(self) -> Mapping[str, Parameter]:
        """Weights, which decay, and biases."""
        return {"weight": Parameter(self.incoming.weight, INPUT, True), "bias": Parameter(self.bias, None, False)}

    def settings(self) -> Mapping[str, Setting]:
        """Kernel, sampling, and places of an image."""
        own = self.sampler
        return _settings(self.kernel, own.name, own.norm, "average" if own.is_pooled else "none", own.sides)

    @classmethod
    def planned_settings(cls, blueprint: LayerBlueprint) -> Mapping[str, Setting]:
        """Those of a new layer."""
        section = _section(blueprint)
        return _settings(section.kernel, section.sampling, section.norm, section.pool, _sides(blueprint))

    def bind(self, values: Mapping[str, Float32Array]) -> None:
        """Go on with other arrays for parameters, of the same sizes."""
        self.incoming.weight = values.get("weight", self.incoming.weight)
        self.bias = values.get("bias", self.bias)

    def rewire(
        self,
        shape: tuple[int, int],  # noqa: ARG002  (its neurons stay)
        topologies: Mapping[str, Topology],
        values: Mapping[str, Float32Array],
    ) -> None:
        """Go on with other taps between the same channels."""
        topology = topologies.get(INPUT, self.incoming.topology)
        assert topology.shape == self.incoming.topology.shape, topology.shape
        self.incoming, self.bias = self.incoming.rewired(topology, values["weight"]), values["bias"]
        self._products = None

    def copy(self) -> Self:
        """The same with parameters of its own."""
        return replace(self, incoming=self.incoming.copy(), bias=self.bias.copy())

    def shape_out(self, shape: BatchShape) -> BatchShape:
        """The places that go on."""
        return shape._replace(n_places=self.sampler.n_out)

    def saved_arrays(self, shape: BatchShape) -> Mapping[str, SavedArray]:
        """Sums of all places, and what sampling needs."""
        sizes = self.sampler.sizes(shape._replace(n_places=1).n_columns)
        return {name: SavedArray((size,), dtype) for name, (size, dtype) in sizes.items()}

    @classmethod
    def saved_bytes(cls, n_out: int, shape: BatchShape, settings: Mapping[str, Setting]) -> int:
        """Bytes of these arrays."""
        _, sampler = _checked(settings, n_out, VALUE(0))
        sizes = sampler.sizes(shape._replace(n_places=1).n_columns)
        return sum(size * np.dtype(dtype).itemsize for size, dtype in sizes.values())

    def forward(
        self,
        source: Tiles,
        out: Tiles,
        saved: Saved | None = None,
        dropout: Dropout | None = None,  # noqa: ARG002
        *,
        goes_on: bool = False,  # noqa: ARG002  (it has no state)
    ) -> None:
        """Sums at all places, then what goes on of them; a convolution has no dropout."""
        if saved is None:
            arrays = self.saved_arrays(source.batch)
            saved = {name: aligned_empty(own.shape, np.dtype(own.dtype).type) for name, own in arrays.items()}
        self._taps.sums(source, self.bias, saved["sums"])
        self.sampler.forward(saved, out)

    def forward_alone(self, source: Float32Array, out: Float32Array) -> None:
        """The bits of :meth:`forward` for one sample, whose places lie one after the other."""
        forward_alone_by_places(self, source, out)

    def gate(self, saved: Saved, dropout: Dropout | None) -> Gate | None:  # noqa: ARG002
        """None: it applies its own derivative."""
        return None

    def backward(
        self,
        delta: Tiles,
        source: Tiles,
        saved: Saved,
        gate_below: Gate | None,
        sink: Sink | None,
        out: Tiles | None,
    ) -> None:
        """Back to the sums, then the gradients of the taps and the deltas for the layer below."""
        self.sampler.backward(delta, saved)
        own = self._deltas(source, saved)
        target = None if sink is None else sink.map(self.incoming.weight, self.bias, NAMES)
        n, n_out = self.incoming.weight.size, self.bias.size
        if isinstance(target, DescendMap):
            room = target.scratch(n + n_out)
            gradients = room[:n], room[n:]
        elif target is not None:
            gradients = target.weight_gradient, target.bias_gradient
        if target is not None:  # before ``out``, which may be ``source``, is written
            self._taps.gradient(own, source, gradients[0])
            bias_gradients(own.values, self.incoming.topology.bounds, own.layout, gradients[1])
        if out is not None:
            self._taps.transposed(own, out)
            if gate_below is not None:
                differentiate_all(gate_below.record, gate_below.slope, gate_below.scale, out.values)
        if target is not None:
            target.accept(*gradients)

    def signals(self, delta: Tiles, source: Tiles, saved: Saved) -> Mapping[str, tuple[Tiles, Tiles]]:  # noqa: ARG002
        """Those of the taps at all places with sums; what they read is copied for this occasion."""
        return {INPUT: (self._taps.read(source), self._deltas(source, saved))}

    def _deltas(self, source: Tiles, saved: Saved) -> Tiles:
        """Derivatives by the sums, after a backward pass."""
        n_columns = source.batch.n_samples * self.sampler.n_sums
        return Tiles(saved["sums"], self.bias.size, n_columns, source.width, self.sampler.n_sums)

    @property
    def _taps(self) -> TapProducts:
        if self._products is None:
            self._products = TapProducts(self.incoming, self.kernel, self.sampler.sides, self.sampler.stride)
        return self._products

    def exact(
        self,
        source: Float64Array,
        values: Mapping[str, Float64Array],
        factor: Float64Array | None,  # noqa: ARG002
        bend: Float64Array | None = None,
        lengths: Int32Array | None = None,  # noqa: ARG002  (images have all their places)
    ) -> tuple[Float64Array, Float64Array | None]:
        """The layer in float64, shift by shift; ``bend`` holds the phases that samples have chosen."""
        matrix, n_in = exact_matrix(self.incoming, values["weight"]), source.shape[1]
        images = source.reshape(*self.sampler.sides, *source.shape[1:])
        sums = np.zeros((source.shape[0], self.bias.size, source.shape[2])) + values["bias"][:, None]
        for number, (down, right) in enumerate(shifts_of(self.kernel).tolist()):
            own = matrix[:, number * n_in : (number + 1) * n_in]
            shifted = np.roll(images, (-down, -right), axis=(0, 1)).reshape(source.shape)
            sums += np.array([own @ place for place in shifted])
        stride, of_places = self.sampler.stride, sums.shape[1:]
        sums = sums.reshape(*self.sampler.sides, *of_places)[::stride, ::stride].reshape(-1, *of_places)
        return exact_samples(self.sampler, sums, bend)

    @classmethod
    def parameter_sizes(
        cls, shape: tuple[int, int], n_values: Mapping[str, int], settings: Mapping[str, Setting]
    ) -> Mapping[str, int]:
        """A weight for each tap, a bias for each neuron."""
        _checked(settings, shape[0], VALUE(0))
        return {"weight": n_values[INPUT], "bias": shape[0]}

    @classmethod
    def from_state(
        cls, state: LayerState, config: NetworkSection, number: int, *, is_last: bool, acting_share: float
    ) -> Self:
        """The layer again."""
        if is_last:
            raise ValueError(f'kind = "{cls.kind}": not in the last layer, whose sums are the outputs')
        if state.activation not in NEGATIVE_SLOPES:
            expected = ", ".join(NEGATIVE_SLOPES)
            raise ValueError(f'activation "{quoted(state.activation)}": expected one of {expected}')
        n, n_in = state.shape
        slope = VALUE(negative_slope(state.activation, config.alpha_of(number), number + 2))
        kernel, sampler = _checked(state.settings, n, slope)
        state.check_shapes({INPUT: (n, kernel**2 * n_in)})
        incoming = connections_from_state(state.connections[INPUT], state.parameters["weight"], acting_share)
        if not isinstance(incoming, Csr):
            raise ValueError(f'connections of the kind "{state.connections[INPUT].kind}": expected csr')
        return cls(incoming, state.parameters["bias"], state.activation, kernel, sampler)


def _section(blueprint: LayerBlueprint) -> ConvolutionSection:
    assert isinstance(blueprint.section, ConvolutionSection), blueprint.section
    return blueprint.section


def _sides(blueprint: LayerBlueprint) -> tuple[int, int]:
    rows, columns = blueprint.grid or (1, 1)
    return rows, columns


def _settings(kernel: int, sampling: str, norm: str, pool: str, sides: tuple[int, int]) -> dict[str, Setting]:
    rows, columns = sides
    return dict(zip(SETTINGS, (kernel, sampling, norm, pool, rows, columns, rows * columns), strict=True))


def _checked(settings: Mapping[str, Any], n: int, slope: np.float32) -> tuple[int, Sampler]:
    """Kernel and sampler of a file's settings.

    Raises
    ------
    ValueError
    """
    if settings.keys() != set(SETTINGS):
        raise ValueError(f"settings {', '.join(sorted(settings)) or 'none'}: expected {', '.join(SETTINGS)}")
    for name, known in KNOWN.items():
        if settings[name] not in known:
            raise ValueError(f'{name} "{quoted(str(settings[name]))}": expected one of {", ".join(known)}')
    for name in ("kernel", "rows", "columns", PLACES):
        value = settings[name]
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} {quoted(str(value))}: expected a whole number >= 1")
    kernel, rows, columns = (settings[name] for name in ("kernel", "rows", "columns"))
    if settings[PLACES] != rows * columns:
        raise ValueError(f"places {settings[PLACES]}: expected {rows} x {columns}, the rows and columns")
    if kernel > min(rows, columns):
        raise ValueError(f"kernel {kernel}: larger than the image of {rows} x {columns}")
    sampler = Sampler(settings["sampling"], settings["norm"], settings["pool"] == "average", (rows, columns), n, slope)
    if sampler.halves and (rows % 2 or columns % 2):
        raise ValueError(f"rows {rows}, columns {columns}: expected even numbers, of which every second is taken")
    return kernel, sampler
