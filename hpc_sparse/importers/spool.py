"""Rows of features kept on disk while they are divided and put in order: memory does not grow with the data.

Rows are appended as they come. The new order is made by a bucket sort, which avoids random reads: one file per block of
the order, each sorted in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from hpc_sparse.dtypes import INDEX, OFFSET, VALUE, AnyArray, Int32Array, Int64Array
from hpc_sparse.partition import chunk_ranges
from hpc_sparse.storage.dataset.samples import CsrFeatures, DenseFeatures, Features, take_rows

CHUNK_BYTES = 2 * 1024 * 1024
"""Read from a spool at a time, roughly."""

MOST_BUCKETS = 128
"""Each has up to two files open."""


class RowSpool:
    """Rows in a file, and where each begins; to be used in a ``with`` statement.

    Attributes
    ----------
    n_rows, n_features : int
        Numbers over all rows so far; later sparse rows may have more features.
    is_sparse : bool
    dtype : dtype
        Type of the values.
    counts : int32[n_rows]
        Values of each row, once :meth:`finish` was called.
    """

    def __init__(self, path: Path) -> None:
        self.n_rows = self.n_features = 0
        self.is_sparse = False
        self.dtype: np.dtype[np.generic] = np.dtype(VALUE)
        self.counts: Int32Array = np.empty(0, INDEX)
        self._paths = {name: path.with_suffix(f".{name}") for name in ("values", "indices")}
        self._files: dict[str, BinaryIO] = {}
        self._count_parts: list[Int32Array] = []
        self._starts: Int64Array = np.zeros(1, OFFSET)

    def __enter__(self) -> RowSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def append(self, features: Features) -> None:
        """Write rows of the kind and dtype of those before."""
        assert self.n_rows == 0 or features.values.dtype == self.dtype, f"{features.values.dtype} after {self.dtype}"
        self.dtype = features.values.dtype
        if isinstance(features, CsrFeatures):
            self.is_sparse = True
            self._write("indices", features.indices)
            self._count_parts.append(np.diff(features.indptr).astype(INDEX))
        else:
            self._count_parts.append(np.full(features.n_samples, features.n_features, INDEX))
        self._write("values", features.values)
        self.n_rows += features.n_samples
        self.n_features = max(self.n_features, features.n_features)

    def finish(self) -> None:
        """Make the rows ready to be read."""
        for file in self._files.values():
            file.flush()
        self.counts = np.concatenate([self.counts, *self._count_parts])
        self._count_parts.clear()
        self._starts = np.concatenate([np.zeros(1, OFFSET), np.cumsum(self.counts, dtype=OFFSET)])

    def read(self, start: int, stop: int) -> Features:
        """Rows ``start:stop``."""
        first, last = int(self._starts[start]), int(self._starts[stop])
        values = self._read("values", self.dtype, first, last)
        if not self.is_sparse:
            return DenseFeatures(values.reshape(stop - start, self.n_features))
        indices = self._read("indices", np.dtype(INDEX), first, last)
        return CsrFeatures(self._starts[start : stop + 1] - first, indices, values, self.n_features)

    def chunks(self, most_rows: int | None = None) -> Iterator[tuple[int, Features]]:
        """All rows in order, in chunks, with the number of each one's first row."""
        n_rows = max(1, CHUNK_BYTES // self.row_bytes())
        for start, stop in chunk_ranges(0, self.n_rows, min(n_rows, most_rows or n_rows)):
            yield start, self.read(start, stop)

    def row_bytes(self) -> int:
        """Size of a row on average."""
        value_bytes = self.dtype.itemsize + (np.dtype(INDEX).itemsize if self.is_sparse else 0)
        return max(1, int(self._starts[-1]) * value_bytes // max(1, self.n_rows))

    def remove(self) -> None:
        """Close and delete the files."""
        for name, file in self._files.items():
            file.close()
            self._paths[name].unlink()
        self._files.clear()

    def _write(self, name: str, array: AnyArray) -> None:
        if name not in self._files:
            self._files[name] = self._paths[name].open("wb")
        self._files[name].write(np.ascontiguousarray(array).data)

    def _read(self, name: str, dtype: np.dtype[np.generic], first: int, last: int) -> AnyArray:
        if first == last:
            return np.empty(0, dtype)
        found: AnyArray = np.fromfile(self._paths[name], dtype, last - first, offset=first * dtype.itemsize)
        assert found.size == last - first, f"{self._paths[name]}: {found.size} values, {last - first} were written"
        return found


def rows_in_order(spool: RowSpool, order: Int64Array, folder: Path, rows_per_block: int) -> Iterator[Features]:
    """Some rows of a spool, each at most once, in another order.

    Parameters
    ----------
    spool : RowSpool
    order : int64[n]
        Numbers of the rows.
    folder : Path
        For the buckets, which take as much room as the rows do.
    rows_per_block : int
        Rows of a block that is yielded; more if there would be more than 128 blocks.
    """
    per_block = max(1, rows_per_block, -(-order.size // MOST_BUCKETS))
    bounds = list(chunk_ranges(0, order.size, per_block))
    with ExitStack() as stack:
        buckets = [stack.enter_context(RowSpool(folder / f"bucket-{number}")) for number in range(len(bounds))]
        _deal(spool, order, per_block, buckets)
        for bucket, (start, stop) in zip(buckets, bounds, strict=True):
            bucket.finish()
            # A bucket has its rows in the order in which they came.
            arrived = np.argsort(order[start:stop])
            place = np.empty(stop - start, OFFSET)
            place[arrived] = np.arange(stop - start)
            yield take_rows(bucket.read(0, bucket.n_rows), place)
            bucket.remove()


def rows_kept(spool: RowSpool, is_kept: AnyArray, most_rows: int) -> Iterator[Features]:
    """Some rows of a spool, chosen by bool[n_rows], in the order in which they came, in blocks."""
    for start, features in spool.chunks(most_rows):
        rows = np.flatnonzero(is_kept[start : start + features.n_samples])
        if rows.size:
            yield take_rows(features, rows)


def _deal(spool: RowSpool, order: Int64Array, per_block: int, buckets: Sequence[RowSpool]) -> None:
    bucket_of = np.full(spool.n_rows, -1, INDEX)
    bucket_of[order] = np.arange(order.size, dtype=INDEX) // INDEX(per_block)
    for start, features in spool.chunks():
        own = bucket_of[start : start + features.n_samples]
        for bucket in np.unique(own[own >= 0]):
            buckets[bucket].append(take_rows(features, np.flatnonzero(own == bucket)))
