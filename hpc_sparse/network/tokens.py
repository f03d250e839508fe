"""Batches of tokens: of each place of each sample the number of one input that is 1, all others being 0."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from hpc_sparse.dtypes import INDEX, VALUE, AnyArray, Float64Array, Int32Array
from hpc_sparse.kernels.recurrent.token_columns import sums_by_token
from hpc_sparse.kernels.simd.buffers import padded_columns
from hpc_sparse.network.tiles import BatchShape, Tiles, layout_of

NO_TOKEN = -1
"""In the columns beyond the samples."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A batch of tokens, in the columns that tiles of their activations would have.

    Attributes
    ----------
    values : int32[n_columns]
        Place after place; -1 beyond the samples.
    n_neurons : int
        Size of the vocabulary.
    n_columns, width, n_places : int
        As of :class:`hpc_sparse.network.tiles.Tiles`.
    lengths : int32[n_columns / n_places] or None
        Places of each sample that count, where they differ.
    """

    values: Int32Array
    n_neurons: int
    n_columns: int
    width: int
    n_places: int = 1
    lengths: Int32Array | None = None

    @classmethod
    def of(cls, rows: AnyArray, n_tokens: int, width: int, lengths: Int32Array | None = None) -> Tokens:
        """The batch of samples int32[n_samples, n_places]."""
        n_samples, n_places = rows.shape
        values = np.full((n_places, padded_columns(n_samples)), NO_TOKEN, INDEX)
        values[:, :n_samples] = rows.T
        return cls(values.reshape(-1), n_tokens, values.size, width, n_places, lengths)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_neurons, n_columns)."""
        return self.n_neurons, self.n_columns

    @property
    def batch(self) -> BatchShape:
        """Shape of the batch, the columns beyond its last sample counted as samples."""
        return BatchShape(self.n_columns // self.n_places, self.n_places)

    @property
    def layout(self) -> int:
        """How columns are divided into tiles, as kernels take it."""
        return layout_of(self.width, self.n_columns, self.n_places)

    def like(self, n_neurons: int, batch: BatchShape | None = None) -> Tiles:
        """Tiles of activations for the same batch, or one of another shape; numbers not set yet."""
        n_samples, n_places = batch or self.batch
        return Tiles.empty(n_neurons, n_samples, self.width, n_places=n_places)

    def exact(self, n_samples: int) -> Float64Array:
        """float64[n_places, n_neurons, n_samples]: inputs of 0 and 1, for checks."""
        own = self.values.reshape(self.n_places, -1)[:, :n_samples]
        return np.array([np.arange(self.n_neurons)[:, None] == place for place in own], np.float64)

    def paired(self, delta: Tiles, n_samples: int) -> tuple[Tiles, Tiles, int]:  # noqa: ARG002
        """Inputs, deltas and samples that have the same products: a sample for each token, with all its deltas."""
        n_rows, n_tokens = delta.n_neurons, self.n_neurons
        sums = np.empty(n_rows * n_tokens, VALUE)
        sums_by_token(self.values, delta.values, n_rows, n_tokens, delta.layout, sums)
        own = Tiles.of(np.eye(n_tokens, dtype=VALUE), self.width)
        return own, Tiles.of(sums.reshape(n_rows, n_tokens), self.width), n_tokens

    def with_lengths(self, lengths: Int32Array | None) -> Tokens:
        """The same batch of sequences of these lengths."""
        return replace(self, lengths=lengths)


Batch: TypeAlias = Tiles | Tokens
"""What a network reads."""
