"""What PyTorch's optimisers keep of connections, after a change of the connections."""

from __future__ import annotations

from typing import Any

import torch

from hpc_sparse.errors import ParameterError
from hpc_sparse.network.connections.topology import TopologyChange

MEAN_SQUARES = frozenset({"exp_avg_sq", "max_exp_avg_sq", "exp_inf", "square_avg"})
"""Names of running means of squared gradients, by whose root steps are divided."""


def check_steps(optimizer: torch.optim.Optimizer | None, weight: torch.Tensor) -> None:
    """Check that an optimiser steps a parameter.

    Raises
    ------
    ParameterError
        It does not, or is none of PyTorch's.
    """
    if optimizer is None:
        return
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ParameterError(f"optimizer is a {type(optimizer).__name__}: expected one of torch.optim, or None")
    if not any(each is weight for group in optimizer.param_groups for each in group["params"]):
        raise ParameterError("optimizer: does not step the weight of this layer: expected the optimiser that does")


def follow_states(states: dict[str, Any], weight: torch.Tensor, change: TopologyChange) -> None:
    """Bring the states of connections to where these are now, in place.

    Momentum, sums and whatever else there is of a new connection begin with 0. Running means of squares begin with the
    mean of those that stay: with 0, and a count of steps that all parameters share, the first steps of a new connection
    would be up to ``sqrt(1 / (1 - beta2))`` times too large.
    """
    if not states:
        return
    position = torch.from_numpy(change.old_position)
    is_grown = position < 0
    before = position.clamp(min=0)
    for name, values in states.items():
        if not isinstance(values, torch.Tensor) or values.shape != weight.shape:
            continue
        carried = values[before]
        stay = carried[~is_grown]
        carried[is_grown] = stay.mean() if name in MEAN_SQUARES and stay.numel() else 0.0
        values.copy_(carried)
