"""A checkpoint from within an epoch, on another number of ranks: its average, and that epoch once more."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hpc_sparse.errors import PlannedStop
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.models.merged import read_merged
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.monitor.stopping import StopRequest
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.collectives import barrier, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs.plan import RunRequest, make_plan
from hpc_sparse.runs.run import train_run
from hpc_sparse.runs.starting_point import starting_point
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.dataset.file import load_dataset

CONFIG = """
[data]
path = "data.h5"
[network]
hidden = [24, 17]
epsilon = 4
[training]
epochs = 2
batch_size = 4
[parallel]
replica_topology = "independent"
[runtime]
threads = 1
oversubscribe = true
stop_within = 0.000001
"""
N_LOOKS = 50
"""One in each step: in the first epoch, all of them before it is half over."""


class AskedInTheEnd(StopRequest):
    """Is asked to stop when it has been looked at so often."""

    n_left = N_LOOKS

    @property
    def reason(self) -> int:
        self.n_left -= 1
        return signal.SIGUSR1 if self.n_left < 0 else 0


@pytest.mark.mpi(ranks=[3])
def test_another_number_of_ranks_begins_the_epoch_again_from_the_average(
    ctx: ParallelContext, mpi_tmp_path: Path, write_small_data: Callable[..., Path]
) -> None:
    def write() -> None:
        (mpi_tmp_path / "run.toml").write_text(CONFIG)
        write_small_data(mpi_tmp_path / "data.h5", n_train=2400)

    on_root(ctx, write)
    asked = RunRequest(mpi_tmp_path / "run.toml", (), mpi_tmp_path / "run", resume="auto")
    assert ctx.comm is not None
    pair = ParallelContext.from_comm(ctx.comm.Split(ctx.rank < 2, ctx.rank), threads=1)
    if ctx.rank < 2:
        with pytest.raises(PlannedStop):
            train_run(pair, asked, SilentReporter(), AskedInTheEnd())
    barrier(ctx)
    path = newest_checkpoint(mpi_tmp_path / "run/checkpoints")
    assert path is not None
    info = read_checkpoint_info(path)
    assert info.n_replicas == 2
    assert info.step_in_epoch > 0

    plan = on_root(ctx, lambda: make_plan(asked))
    dataset = load_dataset(ctx, plan.info.path)
    start = starting_point(ctx, plan, dataset, FrontEndChain.start(ctx, plan.config, dataset), "serial")
    _, merged = read_merged(path, plan.config)
    assert network_digest(start.replica.network) == network_digest(merged.network)
    assert (start.n_epochs, start.n_steps, start.mid_epoch) == (0, 0, None)
    assert f"starting from the average of 2 networks in {path}; epoch 1 is begun again" in start.note
    summary = train_run(ctx, asked, SilentReporter())
    assert summary["epochs"] == 2
