"""A server and workers that compute nothing: started by mpirun, prints one line of JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from hpc_sparse.config import find_data, load_config
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.context import start_mpi
from hpc_sparse.parallel.gradient_exchange import GradientHeader
from hpc_sparse.partition import Share
from hpc_sparse.runs.warm_up import warm_up
from hpc_sparse.storage.container.backends import choose_backend
from hpc_sparse.storage.dataset.file import load_dataset
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.rates import learning_rate
from hpc_sparse.training.replica_states import (
    initial_replica,
)
from hpc_sparse.training.served.server import Server
from hpc_sparse.training.served.worker import Worker
from hpc_sparse.training.trainer import shares

N_EPOCHS = 12


class IdleWorker(Worker):
    """Sends what is in its buffer."""

    def _send_gradient(self, number, step, samples, chosen) -> None:  # noqa: ARG002
        vector, _ = self._gradients[0]
        vector.fill(0)
        header = GradientHeader(self._header.version, self._header.base_update, chosen.size, 0, 0, 1.0, 0.0, 0.0)
        self._end.send(header, vector)


def main() -> None:
    """Exchange for some epochs and print updates and bytes per second."""
    path = Path(sys.argv[1])
    settings = ("parallel.algorithm=wasap", "evolution.strategy=static", "runtime.oversubscribe=true")
    config = load_config(path, settings)
    ctx = replace(start_mpi(), threads=1)
    use_threads(1)
    train, _ = shares(ctx, config)
    # Without test samples the server has nothing else to do.
    parts = {"train": train, "test": Share.none()}
    dataset = load_dataset(ctx, find_data(config.data.path, path), choose_backend(ctx, "auto"), **parts)
    job = TrainingJob(ctx, config, dataset, initial_replica(config, dataset.info), SilentReporter())
    warm_up(ctx, config, dataset.info)
    if not ctx.is_root:
        IdleWorker(job, 1).work(0)
        return
    _report(Server(job, learning_rate(config, 1), lambda _: None), job)


def _report(server: Server, job: TrainingJob) -> None:
    history = server.serve(1, N_EPOCHS).history
    seconds = sum(metrics.train_seconds for metrics in history[1:])
    n_updates = server.n_steps * (N_EPOCHS - 1)
    n_bytes = sum(metrics.sync_bytes for metrics in history[1:])
    print(
        json.dumps(
            {
                "parameters": job.replica.network.n_parameters,
                "updates/s": n_updates / seconds,
                "us per update": 1e6 * seconds / n_updates,
                "GB/s": n_bytes / seconds / 1e9,
            }
        )
    )


if __name__ == "__main__":
    main()
