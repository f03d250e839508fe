"""A model of data-parallel training: seconds of an epoch, and memory of a rank, on P ranks.

    epoch(P)    = steps(P) step crowding + syncs (transfer(P) + waiting(P))
                  + evaluation crowding / P + evolution crowding
    transfer(P) = bytes / packing + 2 (P - 1) / P bytes / bandwidth + 2 log2(P) messages latency
    waiting(P)  = unevenness sqrt(steps between syncs) range(P)

Every rank has its own cores and its own way to the network, and trains a whole replica on 1/P of the samples. An
all-reduce passes each byte on twice, in messages of one bucket at most. Step, evaluation, evolution and packing are
measured on one rank; latency and bandwidth are given, or measured between two ranks. Ranks of one node share its memory
bandwidth: crowding = time of a step while all of them train / time of a step alone.

The first rank at a sync waits for the last. Steps differ by chance, so times between syncs differ by the root of their
number; range(P) is the mean difference between the largest and the smallest of P normal numbers. Their unevenness is
what a real run of some ranks waits, once the transfer is taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from hpc_sparse.config import RunConfig
from hpc_sparse.parallel.averaging import BUCKET_ITEMS
from hpc_sparse.planning.memory import plan_memory
from hpc_sparse.planning.network_size import NetworkSize
from hpc_sparse.planning.prediction import Prediction
from hpc_sparse.planning.traffic import message_bytes, n_syncs
from hpc_sparse.storage.dataset.samples import DatasetInfo
from studies.link_speed import Link

BUCKET_BYTES = 4 * BUCKET_ITEMS


@dataclass(frozen=True)
class Constants:
    """Measured constants of the model.

    Attributes
    ----------
    alone : Prediction
        Prediction for one rank.
    packing : float
        Bytes per second put into messages and taken out again.
    link : Link
    unevenness : float
        Standard deviation of a step's seconds as ranks see it at their syncs; 0 if it was not measured.
    """

    alone: Prediction
    packing: float
    link: Link
    unevenness: float = 0.0


@dataclass(frozen=True)
class Point:
    """Prediction for ``n_ranks`` ranks: seconds of an epoch by its parts, and bytes of each rank."""

    n_ranks: int
    n_steps: int
    compute: float
    transfer: float
    waiting: float
    other: float
    rank_bytes: int

    @property
    def sync(self) -> float:
        """Seconds that the first rank spends in syncs."""
        return self.transfer + self.waiting

    @property
    def epoch(self) -> float:
        """Seconds of an epoch."""
        return self.compute + self.sync + self.other


def model(
    config: RunConfig,
    size: NetworkSize,
    info: DatasetInfo,
    constants: Constants,
    n_ranks: int,
    n_cores: int | None = None,
    crowding: float = 1.0,
) -> Point:
    """An epoch on ``n_ranks`` ranks; ranks that share ``n_cores`` cores, where these are fewer, share their speed.

    ``crowding`` is how many times longer a step of several ranks takes, as :func:`studies.crowding.crowded_step` says.
    """
    shard = -(-info.n_train // n_ranks)
    n_steps = -(-shard // config.training.batch_size)
    slowdown = 1.0 if n_cores is None else max(1.0, n_ranks / n_cores)
    alone = constants.alone
    if n_ranks > 1:
        slowdown *= crowding
    count = n_syncs(config, n_steps)
    waiting = constants.unevenness * math.sqrt(n_steps / count) * mean_range(n_ranks)
    return Point(
        n_ranks=n_ranks,
        n_steps=n_steps,
        compute=slowdown * n_steps * alone.step,
        transfer=slowdown * count * transfer_seconds(config, size, constants, n_ranks),
        waiting=slowdown * count * waiting,
        other=slowdown * (alone.evaluation / n_ranks + alone.evolution / config.evolution.every_epochs),
        rank_bytes=plan_memory(config, size, info, n_ranks).peak,
    )


def mean_range(n_ranks: int) -> float:
    """Mean difference between the largest and the smallest of some normal numbers (approximately, Blom 1958)."""
    return 2 * NormalDist().inv_cdf((n_ranks - 0.375) / (n_ranks + 0.25))


def unevenness(sync_seconds: float, point: Point, count: int) -> float:
    """The unevenness with which ranks spend ``sync_seconds`` of an epoch in ``count`` syncs; a point knows the rest."""
    waiting = max(0.0, sync_seconds - point.transfer) / count
    return waiting / math.sqrt(point.n_steps / count) / mean_range(point.n_ranks)


def transfer_seconds(config: RunConfig, size: NetworkSize, constants: Constants, n_ranks: int) -> float:
    """One sync of ranks that come at the same time; none on one rank."""
    if n_ranks == 1:
        return 0.0
    n_bytes, link = message_bytes(config, size), constants.link
    n_messages = math.ceil(n_bytes / BUCKET_BYTES)
    moved = 2 * (n_ranks - 1) / n_ranks * n_bytes / link.bandwidth
    return n_bytes / constants.packing + moved + 2 * math.log2(n_ranks) * n_messages * link.latency


def ranks_that_fit(points: list[Point], ranks_per_node: int, node_bytes: int) -> int | None:
    """The first number of ranks at which the nodes' ranks no longer fit into them; None if all do."""
    for point in points:
        if min(point.n_ranks, ranks_per_node) * point.rank_bytes > node_bytes:
            return point.n_ranks
    return None


def most_useful_ranks(points: list[Point]) -> int:
    """The number of ranks of the shortest epoch."""
    return min(points, key=lambda point: point.epoch).n_ranks
