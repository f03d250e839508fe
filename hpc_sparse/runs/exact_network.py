"""A network in double precision, by NumPy: its loss as a function of single parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hpc_sparse.dtypes import Float64Array, Int32Array
from hpc_sparse.network.network import Network

STEP = 1e-5
"""By which a parameter is moved in either direction."""


class ExactNetwork:
    """The loss of a batch in double precision, as a function of the parameters near those of a network.

    Piecewise linear activations keep to the side of 0 on which they are: there, the derivative is a number.

    Parameters
    ----------
    network : Network
        All its connections act.
    batch : float64[n_places, n_in, n_samples]
    factors : list of float64[n_places, n, n_samples] or None
        Dropout factor of each hidden activation; None of a layer without dropout.
    loss : callable
        Mean loss of the output layer's weighted sums, float64[n_outputs, n_columns].
    lengths : int32[n_samples] or None
        Places of each sample that count, where they differ.

    Attributes
    ----------
    values : list of dict of str to float64[n]
        Parameters of each layer by name.
    """

    def __init__(
        self,
        network: Network,
        batch: Float64Array,
        factors: Sequence[Float64Array | None],
        loss: Callable[[Float64Array], float],
        lengths: Int32Array | None = None,
    ) -> None:
        self._layers, self._loss = network.layers, loss
        self._lengths = lengths
        self.values = [
            {name: each.values.astype(np.float64) for name, each in layer.parameters().items()}
            for layer in network.layers
        ]
        self._sources, self._bends = [batch], list[Float64Array | None]()
        for layer, values, factor in zip(self._layers, self.values, factors, strict=False):
            out, bend = layer.exact(self._sources[-1], values, factor, lengths=lengths)
            self._sources.append(out)
            self._bends.append(bend)
        self._bends.append(None)

    def slope_at(self, number: int, values: Float64Array, position: int) -> float:
        """Central difference of the loss by a number in ``values``, parameters of layer ``number``."""
        before = values[position]
        losses = []
        for step in (STEP, -STEP):
            values[position] = before + step
            losses.append(self._loss_from(number))
        values[position] = before
        return (losses[0] - losses[1]) / (2 * STEP)

    def _loss_from(self, number: int) -> float:
        out = self._sources[number]
        for layer, values, bend in zip(self._layers[number:], self.values[number:], self._bends[number:], strict=True):
            out, _ = layer.exact(out, values, None, bend, self._lengths)
        return self._loss(np.concatenate(list(out), axis=1))
