"""The import of a graph, by all ranks: each reads its rows, diffuses them, and hands root what it writes.

Each rank holds the rows of an even range of nodes: of the adjacency matrix, and of the features of every hop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from hpc_sparse.dtypes import INDEX, MAX_NEURONS, OFFSET, VALUE, Int32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.graphs.adjacency import AdjacencyRows, read_rows
from hpc_sparse.importers.graphs.diffusion import Diffused, diffuse_rows, of_unit_length
from hpc_sparse.importers.graphs.members import Members, check_members
from hpc_sparse.importers.graphs.options import GraphOptions
from hpc_sparse.importers.graphs.parts import divided
from hpc_sparse.importers.graphs.source import UNLABELLED, GraphSource
from hpc_sparse.importers.graphs.statistics import graph_statistics
from hpc_sparse.parallel.collectives import broadcast_object, collective_errors, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.parallel.row_exchange import Matrix, fetch_rows
from hpc_sparse.parallel.transfer import gather_rows
from hpc_sparse.partition import chunk_ranges, even_bounds
from hpc_sparse.storage.dataset.file import read_info
from hpc_sparse.storage.dataset.samples import CsrFeatures, DatasetInfo, DenseFeatures, Features
from hpc_sparse.storage.dataset.writer import (
    DatasetText,
    FeatureLayout,
    PartBlocks,
    make_way,
    training_order,
    write_blocks,
)

BLOCK_BYTES = 1024 * 1024
"""Features that are brought together and written, roughly; of a small graph that counts."""


@dataclass(frozen=True)
class _Samples:
    """What root writes: the nodes or graphs of both parts in their order, and all labels."""

    train: Int64Array
    test: Int64Array
    labels: Int32Array
    class_names: tuple[str, ...]
    split: str
    members: Members | None = None

    def labels_of_nodes(self, n_nodes: int) -> Int32Array:
        """Classes of the nodes; none is known where graphs have them."""
        return self.labels if self.members is None else np.full(n_nodes, UNLABELLED, INDEX)


def import_graph(
    ctx: ParallelContext, source: GraphSource, target: Path | str, title: str, options: GraphOptions
) -> DatasetInfo:
    """Import a graph, whose labelled nodes become samples, or many graphs that are the samples (collective).

    Parameters
    ----------
    ctx : ParallelContext
    source : GraphSource
    target : path
    title : str
        Unless the options have one.
    options : GraphOptions

    Raises
    ------
    DataError
        The graph is not what it should be.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    path, size = Path(target), source.size
    on_root(ctx, lambda: make_way(path, overwrite=options.overwrite))
    _check_widths(source, options)
    samples = _samples_of_root(ctx, source, options)
    bounds = even_bounds(size.n_nodes, ctx.size)
    options.report("reading edges", 0, 1)
    rows = read_rows(
        ctx,
        source.where,
        size.n_nodes,
        bounds,
        source.edges,
        is_directed=options.is_directed,
        keeps_loops=options.keeps_loops,
    )
    options.report("reading edges", 1, 1)
    known = graph_statistics(ctx, rows, samples.labels_of_nodes(size.n_nodes), is_directed=options.is_directed)
    if samples.members is not None:
        check_members(ctx, source.where, rows, samples.members)
        known["graphs"] = samples.members.n_graphs
    diffused = _diffused(ctx, source, rows, options)
    known |= _kept(options, diffused)
    _write(ctx, path, bounds, diffused.hops, samples, _text(source, title, options, samples, known), options)
    return on_root(ctx, lambda: read_info(path))


def _check_widths(source: GraphSource, options: GraphOptions) -> None:
    n_columns = source.size.n_features * (options.diffusion.hops + 1)
    if not 0 < n_columns <= MAX_NEURONS or not 0 < source.size.n_nodes <= MAX_NEURONS:
        raise DataError(
            f"{source.where}: {source.size.n_nodes} nodes, {n_columns} features over all hops: must be > 0 and at most "
            f"{MAX_NEURONS}"
        )


def _samples(source: GraphSource, options: GraphOptions) -> _Samples:
    labels, class_names = source.labels()
    members = _members(source, labels)
    train, test, split = divided(source, labels, options)
    order = training_order(train.size, options.order_seed)
    return _Samples(train[order], test, labels, class_names, split, members)


def _members(source: GraphSource, labels: Int32Array) -> Members | None:
    graph_of = source.membership()
    return None if graph_of is None else Members.of(source.where, graph_of, labels.size)


def _samples_of_root(ctx: ParallelContext, source: GraphSource, options: GraphOptions) -> _Samples:
    """The parts on root alone, the labels on every rank (collective)."""
    with collective_errors(ctx, f"reading the labels of {source.where}"):
        if ctx.is_root:
            found = _samples(source, options)
        else:
            nothing = np.empty(0, OFFSET)
            labels, names = source.labels()
            found = _Samples(nothing, nothing, labels, names, "", _members(source, labels))
    return found


def _diffused(ctx: ParallelContext, source: GraphSource, rows: AdjacencyRows, options: GraphOptions) -> Diffused:
    with collective_errors(ctx, f"reading the features of {source.where}"):
        features = source.features(rows.start, rows.start + rows.n_rows)
        matrix: Matrix
        if isinstance(features, CsrFeatures):
            matrix = scipy.sparse.csr_array(
                (features.values, features.indices, features.indptr), shape=(rows.n_rows, features.n_features)
            )
            matrix.eliminate_zeros()
        else:
            matrix = features.values.astype(VALUE, copy=False)
        del features
    return diffuse_rows(ctx, rows, matrix, options.diffusion, options.report)


def _kept(options: GraphOptions, diffused: Diffused) -> dict[str, int | float | str]:
    diffusion = options.diffusion
    known: dict[str, int | float | str] = {
        "hops": diffusion.hops,
        "threshold": float(diffusion.threshold),
        "cut": diffusion.cut,
        "unit_length": int(diffusion.unit_length),
        "entries": sum(diffused.n_before),
        "entries_kept": sum(diffused.n_kept),
    }
    return known | ({"silent_nodes": diffused.n_silent} if diffusion.cut == "pre" else {})


def _text(
    source: GraphSource,
    title: str,
    options: GraphOptions,
    samples: _Samples,
    known: Mapping[str, int | float | str],
) -> DatasetText:
    described = f"{source.description()}, {options.diffusion}"
    return DatasetText(
        title if options.title is None else options.title, described, samples.split, samples.class_names, known
    )


def _write(
    ctx: ParallelContext,
    path: Path,
    bounds: Int64Array,
    hops: list[Matrix],
    samples: _Samples,
    text: DatasetText,
    options: GraphOptions,
) -> None:
    """The file, by root; the others send the rows it asks for, block after block (collective)."""
    counts = gather_rows(ctx, _counts(hops))
    failure: BaseException | None = None
    if ctx.is_root:
        try:
            _write_from_root(ctx, path, bounds, hops, samples, counts, text, options)
        except Exception as error:  # noqa: BLE001  (the others wait for a block: they must hear of it)
            failure = error
        broadcast_object(ctx, False)
    else:
        while broadcast_object(ctx, None):
            _fetched(ctx, bounds, hops, np.empty(0, OFFSET), unit_length=options.diffusion.unit_length)
    with collective_errors(ctx, f"writing {path}"):
        if failure is not None:
            raise failure


def _write_from_root(
    ctx: ParallelContext,
    path: Path,
    bounds: Int64Array,
    hops: list[Matrix],
    samples: _Samples,
    counts: Int32Array,
    text: DatasetText,
    options: GraphOptions,
) -> None:
    n_features = sum(hop.shape[1] for hop in hops)
    is_sparse = samples.members is None and not isinstance(hops[0], np.ndarray)
    n_nodes = samples.train.size + samples.test.size
    done, unit_length = 0, options.diffusion.unit_length

    def blocks(nodes: Int64Array) -> Iterator[Features]:
        nonlocal done
        own = counts if samples.members is None else samples.members.sums(counts)
        per_block = max(1, int(BLOCK_BYTES * max(1, nodes.size) // (8 * max(1, int(own[nodes].sum(dtype=OFFSET))))))
        for start, stop in chunk_ranges(0, nodes.size, per_block):
            broadcast_object(ctx, True)
            chosen = nodes[start:stop]
            if samples.members is None:
                yield _fetched(ctx, bounds, hops, chosen, unit_length=unit_length)
            else:
                rows = _fetched(ctx, bounds, hops, samples.members.nodes(chosen), unit_length=unit_length)
                yield samples.members.means(rows, chosen)
            done += stop - start
            options.report("writing", done, n_nodes)

    def part(nodes: Int64Array) -> PartBlocks:
        n_stored = int(counts[nodes].sum(dtype=OFFSET)) if is_sparse else 0
        return PartBlocks(samples.labels[nodes], blocks(nodes), n_stored)

    layout = FeatureLayout(n_features, is_sparse, np.dtype(VALUE))
    write_blocks(path, part(samples.train), part(samples.test), layout=layout, text=text)


def _counts(hops: list[Matrix]) -> Int32Array:
    """Values of each row over all hops."""
    if isinstance(hops[0], np.ndarray):
        return np.full(hops[0].shape[0], sum(hop.shape[1] for hop in hops), INDEX)
    rows: list[Any] = hops
    counts: Int32Array = np.sum([np.diff(hop.indptr) for hop in rows], axis=0).astype(INDEX)
    return counts


def _fetched(
    ctx: ParallelContext, bounds: Int64Array, hops: list[Matrix], nodes: Int64Array, *, unit_length: bool
) -> Features:
    """The features of some nodes over all hops, on the rank that wants them (collective)."""
    found: list[Any] = [fetch_rows(ctx, bounds, hop, nodes) for hop in hops]
    if unit_length:
        found = [of_unit_length(rows) for rows in found]
    if isinstance(found[0], np.ndarray):
        return DenseFeatures(np.hstack(found))
    rows = scipy.sparse.hstack(found, format="csr")
    return CsrFeatures(rows.indptr.astype(OFFSET), rows.indices.astype(INDEX), rows.data, rows.shape[1])
