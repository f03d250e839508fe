"""SGD with momentum: settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sgd:
    """Settings of SGD with momentum.

    Attributes
    ----------
    momentum : float
        Share of the velocity that stays, 0 for plain SGD.
    weight_decay : float
        Each step takes learning rate x this share off every weight; biases are not decayed.
    is_nesterov : bool
        Look ahead by one velocity (Sutskever et al. 2013).
    """

    momentum: float
    weight_decay: float = 0.0
    is_nesterov: bool = False
