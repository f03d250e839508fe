"""SciPy's CSR products by several threads, each on its share of a batch: SciPy itself has one thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks import workload as w
from benchmarks.peers import scipy_csr


class Trainer(scipy_csr.Trainer):
    """Gradients of the shares are added up, then one step is made."""

    def __init__(self, workload: w.Workload, n_threads: int) -> None:
        super().__init__(workload, n_threads)
        self._pool = ThreadPoolExecutor(n_threads)
        self._rngs = np.random.default_rng(0).spawn(n_threads)

    def train(self, n_steps: int) -> None:
        """Train for ``n_steps`` steps."""
        for step in range(n_steps):
            shares = np.array_split(self._workload.batch(step), len(self._rngs))
            parts = self._pool.map(self._gradients, shares, self._rngs)
            self._descend([tuple(map(sum, zip(*layer, strict=True))) for layer in zip(*parts, strict=True)])
