"""Training steps of the PyTorch peers, which differ in their linear layers alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import workload as w


class AllRelu(torch.nn.Module):
    """x for x >= 0, slope * x below."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self._slope = slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.leaky_relu(x, self._slope)


class TorchTrainer:
    """Autograd, cross-entropy and ``torch.optim.SGD`` around layers that a peer makes from ours.

    ``is_fused`` chooses the optimiser's fused step, by default PyTorch's own choice.
    """

    def __init__(
        self,
        workload: w.Workload,
        n_threads: int,
        make_layer: Callable[..., torch.nn.Module],
        *,
        is_fused: bool | None = None,
    ) -> None:
        torch.manual_seed(0)
        self._n_threads, self._workload = n_threads, workload
        modules: list[torch.nn.Module] = []
        for layer in workload.network.layers[:-1]:
            modules += [make_layer(layer), AllRelu(layer.slope), torch.nn.Dropout(w.DROPOUT)]
        self.model = torch.nn.Sequential(*modules, make_layer(workload.network.layers[-1]))
        self._optimizer = torch.optim.SGD(
            self.model.parameters(), lr=w.LEARNING_RATE, momentum=w.MOMENTUM, fused=is_fused
        )
        self._features = torch.from_numpy(workload.features)
        self._labels = torch.from_numpy(workload.labels.astype(np.int64))

    def after_step(self) -> None:
        """Hook after each update."""

    def loss(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch."""
        return torch.nn.functional.cross_entropy(self.model(features), labels)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """int64[n]: classes of samples, float32[n, n_features]."""
        self.model.eval()
        with torch.no_grad():
            classes = self.model(torch.from_numpy(features)).argmax(1).numpy()
        self.model.train()
        return classes  # type: ignore[no-any-return]

    def train(self, n_steps: int) -> None:
        """Train for ``n_steps`` steps."""
        torch.set_num_threads(self._n_threads)
        for step in range(n_steps):
            chosen = torch.from_numpy(self._workload.batch(step))
            self._optimizer.zero_grad(set_to_none=True)
            self.loss(self._features[chosen], self._labels[chosen]).backward()
            self._optimizer.step()
            self.after_step()


def dense_weight(layer: object) -> torch.Tensor:
    """The weights of one of our layers as a dense matrix, zeros where there is no connection."""
    topology = layer.topology  # type: ignore[attr-defined]
    matrix = np.zeros(topology.shape, np.float32)
    rows = np.repeat(np.arange(topology.shape[0]), topology.fan_in())
    matrix[rows, topology.indices] = layer.weight  # type: ignore[attr-defined]
    return torch.from_numpy(matrix)
