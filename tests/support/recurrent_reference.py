"""Recurrent layers in float64, by dense matrices: what they compute, and back-propagation through time.

Gates of all neurons come one after the other: reset, update, candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


@dataclass
class Reference:
    """A cell with weights W [g n, n_in], U [g n, n] and biases b, c [g n]; sequences are [n_steps, n, n_samples]."""

    cell: str
    W: np.ndarray
    b: np.ndarray
    U: np.ndarray
    c: np.ndarray
    states: list[np.ndarray] = field(default_factory=list)
    kept: list[tuple[np.ndarray, ...]] = field(default_factory=list)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The state after each step, [n_steps, n, n_samples]; before the first one it is 0."""
        n = self.U.shape[1]
        self.states, self.kept = [np.zeros((n, x.shape[2]))], []
        for own in x:
            h = self.states[-1]
            from_input = self.W @ own + self.b[:, None]
            from_state = self.U @ h + self.c[:, None]
            if self.cell == "tanh":
                self.states.append(np.tanh(from_input + from_state))
                continue
            r, z = (logistic(from_input[i * n : (i + 1) * n] + from_state[i * n : (i + 1) * n]) for i in (0, 1))
            candidate = np.tanh(from_input[2 * n :] + r * from_state[2 * n :])
            self.states.append((1 - z) * candidate + z * h)
            self.kept.append((r, z, candidate, from_state[2 * n :]))
        return np.array(self.states[1:])

    def backward(self, x: np.ndarray, above: np.ndarray) -> dict[str, np.ndarray]:
        """Derivatives by x and all parameters, given those by the states after each step."""
        found = {name: np.zeros_like(getattr(self, name)) for name in "WbUc"} | {"x": np.zeros_like(x)}
        later = np.zeros_like(self.states[0])
        for step in reversed(range(len(x))):
            h, delta = self.states[step], above[step] + later
            if self.cell == "tanh":
                of_input = of_state = delta * (1 - self.states[step + 1] ** 2)
                later = 0.0
            else:
                r, z, candidate, product = self.kept[step]
                of_candidate = delta * (1 - z) * (1 - candidate**2)
                of_reset = of_candidate * product * r * (1 - r)
                of_update = delta * (h - candidate) * z * (1 - z)
                of_input = np.concatenate([of_reset, of_update, of_candidate])
                of_state = np.concatenate([of_reset, of_update, of_candidate * r])
                later = delta * z
            later = later + self.U.T @ of_state
            found["W"] += of_input @ x[step].T
            found["U"] += of_state @ h.T
            found["b"] += of_input.sum(axis=1)
            found["c"] += of_state.sum(axis=1)
            found["x"][step] = self.W.T @ of_input
        return found
