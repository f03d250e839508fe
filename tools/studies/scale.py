"""Cost of a network of a given configuration on this machine, each part measured at full size.

The plan is made first. Each configuration is then measured in a process of its own, so that the peak of memory is that
of its network alone. :mod:`studies.scale_tables` shows the results.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hpc_sparse.config import RunConfig, find_data, load_config
from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.monitor.metrics import peak_rss_bytes
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.workspace import Workspace
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.rng import Purpose, step_key, stream_key
from hpc_sparse.runs.warm_up import warm_up
from hpc_sparse.storage.checkpoint.file import read_checkpoint, write_checkpoint
from hpc_sparse.storage.checkpoint.state import Checkpoint
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.storage.dataset.samples import Dataset
from hpc_sparse.training.evolution_step import Evolution
from hpc_sparse.training.replica_states import (
    initial_replica,
    replica_from_states,
    replica_to_states,
)

GIGABYTE = 1e9
TOOLS = Path(__file__).parents[1]
SCRATCH = TOOLS.parent / "runs"
"""Folder for checkpoints, on the same disk as runs; a temporary folder of the system may be in memory."""
HPC_SPARSE = str(Path(sys.executable).with_name("hpc-sparse"))
CHUNK = 1 << 24
LEAST_SECONDS = 1.0
"""Shortest time of the steps measured together: a step of a small network takes a millisecond."""


class Trial:
    """A network that is built, trained for some steps, changed, stored and read again."""

    def __init__(self, config: RunConfig, dataset: Dataset, n_threads: int) -> None:
        self.config, self.dataset, self._ctx = config, dataset, ParallelContext.serial(threads=n_threads)
        started = time.perf_counter()
        self.replica = initial_replica(config, dataset.info)
        self.construction = time.perf_counter() - started
        self._workspace = self._new_workspace()
        self._front_end = FrontEndChain.known(config, dataset)
        batch_size, width = config.training.batch_size, self.replica.network.tile_width
        self._assembler = BatchAssembler(self._front_end, dataset.info.n_features, batch_size, width)
        self._order = np.random.default_rng(config.training.seed).permutation(dataset.train.n_samples)
        self._n_steps = 0

    def _new_workspace(self) -> Workspace:
        training = self.config.training
        return self.replica.network.make_workspace(training.batch_size, activations=training.activations)

    def step(self) -> float:
        """Train on the next batch: its mean loss."""
        size, optimizer = self.config.training.batch_size, self.config.optimizer
        start = self._n_steps * size % (self._order.size - size)
        batch, labels = self._assembler.assemble(self.dataset.train, self._order[start : start + size])
        n_hidden = len(self.replica.network.layers) - 1
        keys = [stream_key(self.config.training.seed, Purpose.DROPOUT, layer=layer) for layer in range(n_hidden)]
        loss, _ = self.replica.train_batch(
            batch,
            labels,
            make_objective(self.config),
            [Dropout(self.config.network.dropout, step_key(key, self._n_steps)) for key in keys],
            Sgd(optimizer.momentum, optimizer.weight_decay),
            optimizer.learning_rate,
            self._workspace,
        )
        self._n_steps += 1
        return loss / size

    def evolve(self) -> int:
        """Change the topology as the configuration says: connections grown."""
        change = Evolution(self.config, keeps_changes=False).step(self.replica, 2)
        for layer in self.replica.network.layers[1:]:
            _ = layer.topology.transposed  # which the next step would have to make
        return 0 if change is None else change.n_grown

    def infer(self) -> None:
        """One batch of the test samples."""
        n = min(self.config.training.batch_size, self.dataset.test.n_samples)
        batch, _ = self._assembler.assemble(self.dataset.test, np.arange(n))
        self.replica.network.forward(batch, self._workspace)

    def store(self, path: Path) -> None:
        """Write a checkpoint."""
        states = replica_to_states(self.replica)
        text, front_end = self.config.to_toml(), self._front_end.arrays()
        write_checkpoint(self._ctx, path, Checkpoint(text, 1, self._n_steps, 1, states, {}, None, front_end))

    def take_up(self, path: Path) -> None:
        """Read it again, in the place of the network that there is, as a run does that is resumed."""
        del self.replica, self._workspace
        checkpoint = read_checkpoint(self._ctx, path)
        self.replica = replica_from_states(self.config, checkpoint.layers, checkpoint.neuron_ids)
        self._workspace = self._new_workspace()


def measure(config_path: Path, settings: tuple[str, ...], n_steps: int, n_threads: int) -> dict[str, Any]:
    """All measurements of one configuration, in this process."""
    config = load_config(config_path, settings)
    use_threads(n_threads)
    dataset = load_dataset(ParallelContext.serial(threads=n_threads), find_data(config.data.path, config_path))
    warm_up(ParallelContext.serial(threads=n_threads), config, dataset.info)  # so that kernels are there
    trial = Trial(config, dataset, n_threads)
    n_neurons, n_connections = trial.replica.network.n_neurons, trial.replica.network.n_connections
    trial.step()  # makes the index by input neurons, and touches memory
    losses: list[float] = []
    steps: list[float] = []
    while len(steps) < n_steps or sum(steps) < LEAST_SECONDS:
        steps.append(_timed(lambda: losses.append(trial.step())))
    inference = min(_timed(trial.infer) for _ in range(2))
    evolution = _timed(trial.evolve)
    after = [_timed(lambda: losses.append(trial.step())) for _ in range(2)]
    peak = peak_rss_bytes()
    n_samples, step = config.training.batch_size, median(steps + after)
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        stored = _stored(trial, Path(folder))
    return {
        "name": config_path.stem,
        "settings": list(settings),
        "n_neurons": n_neurons,
        "n_connections": n_connections,
        "activations": config.training.activations,
        "batch_size": n_samples,
        "construction": trial.construction,
        "step": step,
        "cost": step / n_connections / n_samples * 1e9,
        "epoch": step * -(-dataset.train.n_samples // n_samples),
        "evolution": evolution,
        "inference": inference,
        "losses": losses,
        "peak": peak / GIGABYTE,
        **stored,
        "last_peak": peak_rss_bytes() / GIGABYTE,
    }


def _stored(trial: Trial, folder: Path) -> dict[str, Any]:
    """Write, compare with a plain file, read, and see that the same network comes back."""
    path, before = folder / "trial.h5", network_digest(trial.replica.network)
    write = _timed(lambda: trial.store(path))
    n_bytes = path.stat().st_size
    plain = _timed(lambda: _write_plain(folder / "plain", n_bytes))
    (folder / "plain").unlink()
    read = _timed(lambda: trial.take_up(path))
    assert network_digest(trial.replica.network) == before, "the checkpoint gave another network back"
    trial.step()
    return {
        "checkpoint_gb": n_bytes / GIGABYTE,
        "write": write,
        "plain": plain,
        "of_plain": plain / write,
        "read": read,
    }


def _write_plain(path: Path, n_bytes: int) -> None:
    chunk = np.random.default_rng(0).bytes(CHUNK)
    with path.open("wb") as file:
        for start in range(0, n_bytes, CHUNK):
            file.write(chunk[: n_bytes - start])
        file.flush()
        os.fsync(file.fileno())


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


@dataclass(frozen=True)
class Request:
    """A configuration that is to be measured, with its changes: ``jobs/scale_1m.toml training.batch_size=64``."""

    config: Path
    settings: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Request:
        """From the words of one argument."""
        path, *settings = text.split()
        return cls(Path(path).resolve(), tuple(settings))

    def planned(self) -> dict[str, Any]:
        """Prediction of ``hpc-sparse plan``."""
        settings = [word for setting in self.settings for word in ("--set", setting)]
        return dict(json.loads(_output([HPC_SPARSE, "plan", str(self.config), "--json", *settings])))

    def measured(self, n_steps: int, n_threads: int) -> dict[str, Any]:
        """Result of :func:`measure` in a process of its own."""
        arguments = [str(self.config), str(n_steps), str(n_threads), *self.settings]
        return dict(json.loads(_output([sys.executable, "-m", "studies.scale", *arguments]).splitlines()[-1]))


def _output(command: list[str]) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TOOLS), str(TOOLS.parent)])}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), tuple(sys.argv[4:]), int(sys.argv[2]), int(sys.argv[3]))))
