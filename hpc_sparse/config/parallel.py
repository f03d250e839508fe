"""Section ``[parallel]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hpc_sparse.config.section import Fraction, Positive, PositiveCount, Section


class ParallelSection(Section):
    """Training on several ranks; without effect on one."""

    formerly: ClassVar[Mapping[str, str]] = {
        "algorithm": "parallel.strategy",
        "replica_topology": "parallel.topology",
        "velocity_at_sync": "parallel.momentum",
    }

    model: PositiveCount = 1
    """Ranks that hold one network together, each some neurons of every layer; the other ranks train replicas of it. To
    the bits of one rank, whatever the number; for networks that no node can hold."""

    algorithm: Literal["local_sgd", "wasap", "wassp"] = "local_sgd"
    """local_sgd: replicas averaged at each sync; wasap, wassp: rank 0 serves workers, without or with waiting."""

    sync_every_steps: PositiveCount | Literal["epoch"] = "epoch"
    """local_sgd: steps from one sync to the next; every epoch ends with one in any case."""

    replica_topology: Literal["shared", "independent"] = "shared"
    """local_sgd: replicas evolve alike (shared), or each by its own stream, merged at the next sync (independent)."""

    velocity_at_sync: Literal["average", "reset"] = "average"
    """local_sgd: what a sync does to the optimiser's velocities."""

    overlap: bool = False
    """local_sgd: average while training goes on; wasap: compute a gradient while the last is under way."""

    learning_rate_scaling: Literal["auto", "none", "sqrt", "linear"] = "auto"
    """Factor of the rate by the number of replicas that share a step; auto: linear up to learning_rate_cap, for wasap
    none. Linear is an argument for averaged gradients; for replicas averaged once an epoch it is a rule of thumb."""

    learning_rate_cap: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 8.0
    """learning_rate_scaling = "auto": the largest factor. Raise it if runs with more ranks stay stable."""

    max_staleness: PositiveCount = 64
    """wasap: a gradient is discarded if more updates than this came after the weights it was computed with."""

    staleness_aware: bool = False
    """wasap: divide the rate by 1 + staleness."""

    phase2_share: Fraction = 0.1
    """wasap, wassp: share of the epochs, at the end, in which workers train alone before they are averaged."""

    phase2_learning_rate: Positive | None = None
    """wasap, wassp: rate of phase 2; by default the schedule's, without scaling."""

    def in_one_part(self) -> Self:
        """The same with networks that are whole on each rank."""
        return self.model_copy(update={"model": 1})

    @model_validator(mode="after")
    def _overlap_is_possible(self) -> Self:
        if not self.overlap or self.algorithm == "wasap":
            return self
        if self.algorithm == "wassp":
            raise ValueError('overlap = true needs algorithm = "local_sgd" or "wasap"')
        if self.replica_topology != "shared" or self.velocity_at_sync != "average":
            raise ValueError('overlap = true needs replica_topology = "shared" and velocity_at_sync = "average"')
        if self.sync_every_steps == "epoch":
            raise ValueError("overlap = true needs a number for sync_every_steps: it is for syncs within an epoch")
        return self
