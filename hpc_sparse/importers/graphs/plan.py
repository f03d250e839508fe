"""What the import of a graph takes, told before it starts: bounds that hold for every graph of this size."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_sparse.importers.graphs.diffusion import ENTRY_BYTES, POWER_BYTES, RANGE_BYTES
from hpc_sparse.importers.graphs.importing import BLOCK_BYTES
from hpc_sparse.importers.graphs.options import GraphOptions
from hpc_sparse.importers.graphs.source import EDGES_AT_A_TIME, GraphSize

PROGRAM_BYTES = 160 * 10**6
"""Of the program and its libraries."""

MPI_BYTES = 40 * 10**6
"""Besides, with MPI."""

NODE_BYTES = 40
"""Of each node on every rank: its label, its degree, and flags."""

ROOT_NODE_BYTES = 40
"""Of each node on root: its place in the order, and the size of its row."""


@dataclass(frozen=True)
class ImportPlan:
    """Bytes of each rank, and work.

    Attributes
    ----------
    items : dict of str to int
        Bytes by what has them, at most.
    peak : int
        Bytes at most, program included.
    least : int
        Bytes that it needs in any case, but for the program.
    multiplications : int
        Over all ranks and hops, at most.
    """

    items: dict[str, int]
    peak: int
    least: int
    multiplications: int


def plan_import(size: GraphSize, options: GraphOptions, n_ranks: int = 1) -> ImportPlan:
    """Bounds of memory and work.

    Memory grows linearly with nodes and edges, unless features are sparse: those of hop h then have at most
    ``min(n_features, stored x entries)`` values a node, with as many entries as neighbours or as the threshold leaves.
    """
    diffusion, n = options.diffusion, size.n_nodes
    entries = size.n_edges * (1 if options.is_directed else 2)
    value = 8 if diffusion.follows_rows else 4
    weights = 8 if size.is_weighted else 0
    features = _feature_bytes(size, entries, options)
    ranges = POWER_BYTES * 4 if diffusion.follows_rows else RANGE_BYTES * 6
    items = {
        "program": PROGRAM_BYTES + (MPI_BYTES if n_ranks > 1 else 0),
        "rows of the graph": entries * (4 + value + weights) // n_ranks + 16 * n // n_ranks,
        "features of all hops": features // n_ranks,
        "ranges of nodes": min(ranges, 8 * features + ENTRY_BYTES * entries + EDGES_AT_A_TIME * 40),
        "labels and degrees": NODE_BYTES * n,
        "order of samples": ROOT_NODE_BYTES * n,
        "blocks of the file": min(4 * BLOCK_BYTES, features),
    }
    least = 4 * size.n_edges // n_ranks + (0 if size.is_sparse else features // n_ranks) + 8 * size.n_stored // n_ranks
    return ImportPlan(items, sum(items.values()), least, _multiplications(size, entries, options))


def _feature_bytes(size: GraphSize, entries: int, options: GraphOptions) -> int:
    """Of hops 0 to the last; where hops come in pieces, the last is there twice for a moment."""
    hops = options.diffusion.hops
    if not size.is_sparse:
        return 4 * size.n_nodes * size.n_features * (hops + 1 + options.diffusion.follows_rows)
    stored = [min(size.n_nodes * size.n_features, size.n_stored * b) for b in _growth(size, entries, options)]
    return 8 * (sum(stored) + stored[-1])


def _growth(size: GraphSize, entries: int, options: GraphOptions) -> list[int]:
    """How many values a value of hop 0 may become in each hop: the most entries of a column."""
    diffusion = options.diffusion
    most = min(size.n_nodes, entries) if not diffusion.threshold else max(1, int(1 / diffusion.threshold))
    if diffusion.follows_rows:
        return [1] + [most] * diffusion.hops
    return [min(size.n_nodes, int(most**hop)) for hop in range(diffusion.hops + 1)]


def _multiplications(size: GraphSize, entries: int, options: GraphOptions) -> int:
    """Products of an entry with a feature; rows of powers may become full."""
    diffusion, n = options.diffusion, size.n_nodes
    per_row = -(-size.n_stored // n)
    if not diffusion.follows_rows:
        return sum(
            entries * min(size.n_features, per_row * growth)
            for growth in _growth(size, entries, options)[: diffusion.hops]
        )
    degree = -(-entries // n)
    in_a_row = [min(n, int(degree**hop)) for hop in range(1, diffusion.hops + 1)]
    return sum(n * entries_of * degree for entries_of in in_a_row[:-1]) + sum(n * own * per_row for own in in_a_row)
