"""From a shard's samples to batches: which samples, in which order, as neuron-major columns."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, Float32Array, Int32Array, Int64Array
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.kernels import batch as kernels
from hpc_sparse.kernels import chosen_features, scaled_rows
from hpc_sparse.kernels.simd.buffers import aligned_empty, padded_columns
from hpc_sparse.kernels.simd.machine import WIDTHS
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.network.tokens import Batch, Tokens
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.rng import Purpose, stream
from hpc_sparse.storage.dataset.samples import CsrFeatures, Samples


class BatchAssembler:
    """Assembler of batches into one reused buffer.

    Front ends that fit into the pass over the samples are applied on the way, so that the shard stays in memory as it
    is on disk. Each of the others has a buffer of its own. CSR features are written into a buffer of zeros, or of what
    standardisation makes of zeros, and taken out again: O(stored features), not O(all features). Dense features are
    assembled whole even if some are left out, which is faster.
    """

    def __init__(
        self,
        front_end: FrontEndChain,
        n_features: int,
        max_batch: int,
        tile_width: int = WIDTHS[-1],
        n_places: int = 1,
        n_tokens: int = 0,
    ) -> None:
        """Prepare for batches of up to ``max_batch`` samples, whose data have ``n_features`` features.

        ``tile_width`` and ``n_places`` are those of the network; so is ``n_tokens``, the size of the vocabulary if it
        reads tokens.
        """
        self._width, self._n_places, self._n_tokens = tile_width, n_places, n_tokens
        if n_tokens:
            n_features = 0
        self._gather, later = front_end.fused()
        self._n_features, self._features = n_features, self._gather.chosen
        self._row_of = _rows(self._features, n_features)
        n_most = padded_columns(max_batch)
        self._buffer = aligned_empty(n_features * n_most, VALUE)
        self._buffer.fill(0)
        self._inputs = aligned_empty((0 if self._features is None else self._features.size) * n_most, VALUE)
        self._written: tuple[CsrFeatures, Int64Array, Tiles] | None = None
        self._absent = self._gather.absent()
        self._shift, self._scale = np.zeros(n_features, VALUE), np.ones(n_features, VALUE)
        if self._gather.shift is not None and self._gather.scale is not None:
            self._shift, self._scale = self._gather.shift, self._gather.scale
        self._n_gathered = n_inputs = self._gather.n_inputs(n_features)
        self._later: list[tuple[FrontEnd, int, Float32Array]] = []
        for part in later:
            n_inputs = part.n_inputs(n_inputs)
            self._later.append((part, n_inputs, aligned_empty(n_inputs * n_most, VALUE)))
        self.n_inputs: int = n_inputs
        self._placed = aligned_empty(n_inputs * n_most if n_places > 1 else 0, VALUE)

    def assemble(self, samples: Samples, chosen: Int64Array) -> tuple[Batch, Int32Array]:
        """The batch of the ``chosen`` samples (int64[n_batch]).

        Returns
        -------
        batch : Tiles or Tokens
            float32, of the inputs; valid until the next call; 0 in the columns beyond the batch. Of several places,
            each has an equal part of the inputs, in their order.
        labels : int32[n_batch], or [n_batch, n_steps]
        """
        labels, lengths = samples.labels[chosen], None
        if samples.lengths is not None:
            lengths = np.zeros(padded_columns(chosen.size), INDEX)
            lengths[: chosen.size] = samples.lengths[chosen]
        if self._n_tokens:
            return Tokens.of(samples.features.values[chosen], self._n_tokens, self._width, lengths), labels
        return self._numbers(samples, chosen).as_places(self._n_places, self._placed).with_lengths(lengths), labels

    def _numbers(self, samples: Samples, chosen: Int64Array) -> Tiles:
        """The features of the chosen samples."""
        features = samples.features
        if isinstance(features, CsrFeatures):
            batch = self._scatter(features, chosen)
        else:
            batch = self._tiles(self._buffer, self._n_features, chosen)
            kernels.gather_dense(features.values, chosen, self._shift, self._scale, batch.width, batch.values)
            if self._features is not None:
                inputs = self._tiles(self._inputs, self._n_gathered, chosen)
                for (_, every), (_, own) in zip(batch, inputs, strict=True):
                    every.take(self._features, 0, own, "clip")
                batch = inputs
        for part, n_inputs, buffer in self._later:
            out = self._tiles(buffer, n_inputs, chosen)
            for (first, before), (_, after) in zip(batch, out, strict=True):
                part.apply(before, min(max(chosen.size - first, 0), before.shape[1]), after)
            batch = out
        return batch

    def _tiles(self, buffer: Float32Array, n_rows: int, chosen: Int64Array) -> Tiles:
        return Tiles.empty(n_rows, chosen.size, self._width, buffer=buffer)

    def _scatter(self, features: CsrFeatures, chosen: Int64Array) -> Tiles:
        self._clear(chosen.size)
        batch = self._tiles(self._buffer, self._n_gathered, chosen)
        arrays = (features.indptr, features.indices, features.values)
        where = (chosen, batch.n_neurons, batch.width, batch.values)
        if self._absent is not None:
            if self._written is None:
                _fill(batch, chosen.size, self._absent)
            scaled_rows.scatter_scaled(*arrays, self._shift, self._scale, self._row_of_every, *where)
        elif self._row_of is None:
            kernels.scatter_csr(*arrays, *where)
        else:
            chosen_features.scatter_chosen(*arrays, self._row_of, *where)
        self._written = (features, chosen, batch)
        return batch

    def _clear(self, n_next: int) -> None:
        """Take out what was written, unless the buffer is filled anew, which a batch of another size needs."""
        if self._written is None:
            return
        features, chosen, batch = self._written
        where = (chosen, batch.n_neurons, batch.width, batch.values)
        if self._absent is not None:
            if chosen.size != n_next:
                self._written = None
            else:
                rows = (features.indptr, features.indices)
                scaled_rows.clear_scaled(*rows, self._row_of_every, self._absent, *where)
        elif self._row_of is None:
            kernels.clear_csr(features.indptr, features.indices, *where)
        else:
            chosen_features.clear_chosen(features.indptr, features.indices, self._row_of, *where)

    @cached_property
    def _row_of_every(self) -> Int32Array:
        """int32[n_features]: the row of each feature, -1 for those that have none."""
        return np.arange(self._n_features, dtype=INDEX) if self._row_of is None else self._row_of


def _fill(batch: Tiles, n_samples: int, column: Float32Array) -> None:
    """Give every sample the same column, float32[n_inputs]; 0 beyond."""
    for first, tile in batch:
        n_own = min(max(n_samples - first, 0), tile.shape[1])
        tile[:, :n_own] = column[:, None]
        tile[:, n_own:] = 0


def batch_bytes(n_features: int, stride: int) -> int:
    """Bytes of an assembler's buffer, shift and scale; its rows have ``stride`` values."""
    return n_features * (stride + 2) * np.dtype(VALUE).itemsize


def shuffled_batches(n_samples: int, batch_size: int, seed: int, epoch: int, replica: int) -> list[Int64Array]:
    """The batches of one epoch of one replica's shard: a new order each epoch, the last batch may be smaller."""
    order = stream(seed, Purpose.SHUFFLE, epoch=epoch, replica=replica).permutation(n_samples).astype(OFFSET)
    return [order[start:stop] for start, stop in chunk_ranges(0, n_samples, batch_size)]


def strands(n_samples: int, batch_size: int) -> list[Int64Array]:
    """Batches of samples that follow each other in a text, each going on where the one before has ended.

    The text is cut into as many strands as a batch has samples; -1 stands for none, where the last one is shorter.
    """
    if not n_samples:
        return []
    n_each = -(-n_samples // min(batch_size, n_samples))
    firsts = np.arange(0, n_samples, n_each, dtype=OFFSET)
    rows = firsts[None, :] + np.arange(n_each, dtype=OFFSET)[:, None]
    return list(np.where(rows < n_samples, rows, -1))


def ordered_batches(n_samples: int, batch_size: int) -> list[Int64Array]:
    """All samples in order, for evaluation."""
    return [np.arange(start, stop, dtype=OFFSET) for start, stop in chunk_ranges(0, n_samples, batch_size)]


def _rows(features: Int32Array | None, n_features: int) -> Int32Array | None:
    """int32[n_features]: the row of each feature among the chosen ``features``, -1 for the others; None for all."""
    if features is None:
        return None
    row_of = np.full(n_features, -1, INDEX)
    row_of[features] = np.arange(features.size, dtype=INDEX)
    return row_of
