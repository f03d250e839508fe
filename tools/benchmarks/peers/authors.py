"""SET-MLP, the program of Curci, Mocanu, Pechenizkiy 2021 themselves: SciPy's CSR products and a numba loop.

The environment variable SET_MLP names a checkout of https://github.com/SelimaC/large-scale-sparse-neural-networks.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numba
import numpy as np
import scipy.sparse as sp

from benchmarks import workload as w

VARIABLE = "SET_MLP"

UNUSED = {"utils.load_data": ("load_fashion_mnist_data",), "wasap_sgd.train.monitor": ("Monitor",)}
"""Modules of the program that training does not need, and what is imported from them; they need TensorFlow."""

FORMER_ISIN = "in1d"
"""Name of ``numpy.isin`` in the releases that it was written for, where the result was flat."""

WEIGHT_DECAY = 0.0
"""That of the other peers; the program's own is 0.0002."""


class Trainer:
    """Its own forward pass, back-propagation and update, with our connections and initial weights."""

    note: ClassVar[str] = "in float64, as it makes its weights; only the gradient's loop has threads"

    def __init__(self, workload: w.Workload, n_threads: int) -> None:
        program, functions = load_program()
        self._workload, self._n_threads = workload, n_threads
        slopes = [functions.AlternatedLeftReLU(layer.slope) for layer in workload.network.layers[:-1]]
        with contextlib.redirect_stdout(io.StringIO()):
            self._model = program.SET_MLP(tuple(workload.widths), (*slopes, functions.Softmax), epsilon=1)
        for number, layer in enumerate(workload.network.layers, start=1):
            t = layer.topology
            rows = sp.csr_matrix((layer.weight.astype(np.float64), t.indices, t.indptr), t.shape)
            self._model.w[number] = rows.T.tocsr()
        model = self._model
        model.loss, model.learning_rate, model.momentum = functions.CrossEntropy(), w.LEARNING_RATE, w.MOMENTUM
        model.weight_decay, model.dropout_rate, model.zeta = WEIGHT_DECAY, w.DROPOUT, 0.3
        self._classes = np.eye(workload.widths[-1], dtype=np.float32)

    def train(self, n_steps: int) -> None:
        """Train for ``n_steps`` steps."""
        numba.set_num_threads(self._n_threads)
        for step in range(n_steps):
            chosen = self._workload.batch(step)
            passed = self._model._feed_forward(self._workload.features[chosen], True)
            self._model._back_prop(*passed, self._classes[self._workload.labels[chosen]])

    def evolve(self) -> None:
        """Change the topology, as after each epoch."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._model.weights_evolution_II()

    def predict(self, features: np.ndarray) -> np.ndarray:
        """int64[n]: classes of samples, float32[n, n_features]."""
        _, activations, _ = self._model._feed_forward(features)
        return np.asarray(activations[len(self._workload.widths)]).argmax(1)


def load_program() -> tuple[Any, Any]:
    """The program's modules ``set_mlp_sequential`` and ``utils.nn_functions``.

    Raises
    ------
    ImportError
        The environment names no checkout.
    """
    folder = Path(os.environ.get(VARIABLE, ""))
    if not os.environ.get(VARIABLE) or not (folder / "set_mlp_sequential.py").is_file():
        raise ImportError(f"{VARIABLE} is not set to a checkout of the authors' program")
    sys.path.insert(0, str(folder.absolute()))
    for name, contents in UNUSED.items():
        stand_in = ModuleType(name)
        for each in contents:
            setattr(stand_in, each, None)
        sys.modules[name] = stand_in
    if not hasattr(np, FORMER_ISIN):
        setattr(np, FORMER_ISIN, lambda values, others: np.isin(values, others).ravel())
    return importlib.import_module("set_mlp_sequential"), importlib.import_module("utils.nn_functions")
