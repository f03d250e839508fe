"""Recurrent modules of PyTorch in float64, by the formulas of their documentation."""

from __future__ import annotations

import numpy as np


def logistic(x):
    return 1 / (1 + np.exp(-x))


def states_of_torch(kind, state, x):
    """States [n_samples, n_steps, n] by the formulas in the documentation of ``torch.nn.GRU`` and ``torch.nn.RNN``."""
    names = [f"{what}_{of}_l0" for what in ("weight", "bias") for of in ("ih", "hh")]
    W, U, b, c = (state[name].astype(np.float64) for name in names)
    h, found = np.zeros((len(x), U.shape[1])), []
    for own in x.transpose(1, 0, 2):
        of_input, of_state = own @ W.T + b, h @ U.T + c
        if kind == "tanh":
            h = np.tanh(of_input + of_state)
        else:
            (i_r, i_z, i_n), (h_r, h_z, h_n) = (np.split(each, 3, axis=1) for each in (of_input, of_state))
            r, z = logistic(i_r + h_r), logistic(i_z + h_z)
            n = np.tanh(i_n + r * h_n)
            h = (1 - z) * n + z * h
        found.append(h)
    return np.stack(found, axis=1)
