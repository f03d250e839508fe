"""Nerva (Wesselink et al. 2024, arXiv:2407.17437): sparse layers in C++ on Intel's MKL, by its command line program.

The program ``mlp`` of a built copy of nerva-rowwise is named by the environment variable NERVA.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import weakref
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar

import numpy as np

from benchmarks import workload as w
from benchmarks.timing import Measured
from hpc_sparse.errors import MachineError
from hpc_sparse.network.layers.sparse import SparseLayer

VARIABLE = "NERVA"
N_EPOCHS = 2
"""Epochs per start of the program; only the last counts, because libraries and threads start in the first."""

EPOCH_TIME = re.compile(r"^epoch\s+[1-9]\d*\b.*\btime: ([\d.]+)s", re.MULTILINE)
N_CONNECTIONS = re.compile(r"\b(\d+)/\d+ \([\d.]+%\)")


class Trainer:
    """Our samples, batches, connections and initial weights, given to a program that measures itself."""

    note: ClassVar[str] = "without dropout, which it has for dense layers only; its own time of the second epoch"

    def __init__(self, workload: w.Workload, n_threads: int) -> None:
        self._program = find_program()
        self._workload, self._n_threads = workload, n_threads
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads))
        self._environment = os.environ | threads
        self._folder = Path(mkdtemp(prefix="nerva_"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._weights = self._folder / "weights.npz"
        np.savez(self._weights, **_named_parameters(workload))

    def train(self, n_steps: int) -> Measured:
        """Time of ``n_steps`` steps, run as one epoch of the samples they take.

        Raises
        ------
        MachineError
            The program failed, printed something else, or trained other numbers of connections.
        """
        run = subprocess.run(
            [str(self._program), *self._options(self._export(n_steps))],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = [float(time) for time in EPOCH_TIME.findall(run.stdout)]
        if run.returncode or len(seconds) != N_EPOCHS:
            last = " / ".join([*run.stdout.splitlines(), *run.stderr.splitlines()][-3:])
            raise MachineError(
                f"{VARIABLE} = {self._program}: exit code {run.returncode} and {len(seconds)} epochs, "
                f"expected 0 and {N_EPOCHS}; it ended with: {last}"
            )
        self._check_connections(run.stdout)
        return Measured(seconds[-1])

    def _options(self, samples: Path) -> list[str]:
        layers = self._workload.network.layers
        activations = [f"AllReLU({layer.slope:.9g})" for layer in layers[:-1]]
        return [
            f"--layers={';'.join([*activations, 'Linear'])}",
            f"--layer-sizes={';'.join(map(str, self._workload.widths))}",
            f"--densities={';'.join(f'{layer.topology.density:.17g}' for layer in layers)}",
            "--layer-weights=Zero",
            f"--load-weights={self._weights}",
            f"--optimizers=Momentum({w.MOMENTUM})",
            "--loss=SoftmaxCrossEntropy",
            f"--learning-rate={w.LEARNING_RATE}",
            f"--batch-size={w.BATCH}",
            f"--epochs={N_EPOCHS}",
            f"--threads={self._n_threads}",
            "--no-shuffle",
            "--no-statistics",
            f"--load-dataset={samples}",
        ]

    def _export(self, n_steps: int) -> Path:
        path = self._folder / f"{n_steps}_steps.npz"
        if not path.exists():
            order = np.concatenate([self._workload.batch(step) for step in range(n_steps)])
            features, labels = self._workload.features[order], self._workload.labels[order].astype(np.int64)
            tested = slice(w.BATCH)  # it evaluates once at the end, outside its time
            np.savez(path, Xtrain=features, Ttrain=labels, Xtest=features[tested], Ttest=labels[tested])
        return path

    def _check_connections(self, output: str) -> None:
        found = [int(number) for number in N_CONNECTIONS.findall(output)]
        expected = [layer.topology.n_connections for layer in self._workload.network.layers]
        if found != expected:
            raise MachineError(
                f"{VARIABLE} = {self._program}: it trained {found} connections per layer, expected {expected}"
            )


def find_program() -> Path:
    """The program that the environment names.

    Raises
    ------
    ImportError
        None is named, or what is named is no program.
    """
    named = os.environ.get(VARIABLE, "")
    if not named:
        raise ImportError(f"{VARIABLE} is not set to the program mlp of a built copy")
    program = Path(named).absolute()
    if not program.is_file() or not os.access(program, os.X_OK):
        raise ImportError(f"{VARIABLE} = {named}: not a program")
    return program


def _named_parameters(workload: w.Workload) -> dict[str, np.ndarray]:
    named = {}
    for number, layer in enumerate(workload.network.layers, start=1):
        named[f"W{number}"] = _dense_weight(layer)
        named[f"b{number}"] = np.asarray(layer.bias, np.float32)
    return named


def _dense_weight(layer: SparseLayer) -> np.ndarray:
    # The program takes every number but 0 for a connection.
    matrix = np.zeros(layer.topology.shape, np.float32)
    rows = np.repeat(np.arange(layer.topology.shape[0]), layer.topology.fan_in())
    matrix[rows, layer.topology.indices] = np.where(layer.weight == 0, np.finfo(np.float32).tiny, layer.weight)
    return matrix
