"""Runs of one network over several ranks end in the checkpoint of the run on one rank, also by way of other numbers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.errors import ConfigError, MachineError, PlannedStop
from hpc_sparse.kernels import INSTRUCTION_SET
from hpc_sparse.monitor.metrics import CLOCK_FIELDS
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.monitor.stopping import StopRequest
from hpc_sparse.parallel.collectives import barrier, broadcast_object, on_root
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs import grid
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.dataset.file import read_info

CONFIG = """
[data]
path = "data.h5"
validation_fraction = 0.2
[network]
hidden = [31, 24, 17]
epsilon = 4
dropout = 0.2
[training]
epochs = 3
batch_size = 24
[optimizer]
learning_rate = 0.05
weight_decay = 0.001
[evolution]
strategy = "static"
[runtime]
threads = 1
oversubscribe = true
stop_within = 0.000001
"""

Outcome = tuple[bytes, list[dict[str, object]]]
Run = Callable[..., Outcome | None]


class AskedAfter(StopRequest):
    """Is asked to stop when it has been looked at so often: once a step."""

    def __init__(self, n_looks: int) -> None:
        super().__init__()
        self.n_left = n_looks

    @property
    def reason(self) -> int:
        self.n_left -= 1
        return signal.SIGUSR1 if self.n_left < 0 else 0


@pytest.fixture
def run(ctx: ParallelContext, folder: Path, write_small_data: Callable[..., Path]) -> Run:
    """Train on the first ranks, a network in so many parts; the arrays of the last checkpoint and all metrics.

    With ``stop_after`` steps the run is asked to stop, and must do so within an epoch.
    """

    # As many outputs as parts, at least.
    on_root(ctx, lambda: write_small_data(folder / "five.h5", n_classes=5))

    def train(name: str, ranks: int, model: int, *overrides: str, stop_after: int | None = None) -> Outcome | None:
        assert ctx.comm is not None
        context = ParallelContext.from_comm(ctx.comm.Split(ctx.rank < ranks, ctx.rank), threads=1)
        keys = ('data.path="five.h5"', f"parallel.model={model}", *overrides)
        request = RunRequest(folder / "run.toml", keys, folder / name, resume="auto", is_debug=model > 1)
        if ctx.rank < ranks and stop_after is not None:
            with pytest.raises(PlannedStop):
                train_run(context, request, SilentReporter(), AskedAfter(stop_after))
        elif ctx.rank < ranks:
            summary = train_run(context, request, SilentReporter())
            assert summary["ranks_per_network"] == model
        barrier(ctx)
        if stop_after is None:
            return on_root(ctx, lambda: outcome(folder / name))
        path = newest_checkpoint(folder / name / "checkpoints")
        assert path is not None
        assert read_checkpoint_info(path).step_in_epoch > 0
        return None

    return train


def outcome(folder: Path) -> Outcome:
    path = newest_checkpoint(folder / "checkpoints")
    assert path is not None
    (checkpoint,) = read_replicas(path)
    assert checkpoint.epoch == 3
    arrays = b"".join(
        f"{name} {array.dtype} {array.shape}".encode() + array.tobytes()
        for layer in checkpoint.layers
        for name, array in layer.arrays().items()
    )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    left_out = {*CLOCK_FIELDS, "sync_bytes"}
    return arrays, [{key: value for key, value in line.items() if key not in left_out} for line in lines]


PRUNED = ("importance_pruning.mode=compact", "importance_pruning.after_epoch=1", "importance_pruning.every_epochs=1")


@pytest.mark.mpi(ranks=[4])
@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("training.activations=bfloat16",),
        ("evolution.strategy=set",),
        ("evolution.strategy=set", *PRUNED),
        ("evolution.strategy=gse",),
        ("evolution.strategy=deep_r",),
        ("evolution.strategy=rigl", "evolution.final_density=0.1"),
        ("evolution.strategy=srigl",),
    ],
)
def test_a_network_in_any_number_of_parts_is_that_of_one_rank(run: Run, keys: tuple[str, ...]) -> None:
    whole = run("whole", 1, 1, *keys)
    for n_parts in (2, 3, 4):
        assert run(f"in {n_parts}", n_parts, n_parts, *keys) == whole, n_parts


@pytest.mark.mpi(ranks=[3])
@pytest.mark.parametrize("strategy", ["static", "set"])
def test_a_first_layer_from_a_file_is_divided_as_a_drawn_one(
    ctx: ParallelContext, folder: Path, run: Run, strategy: str
) -> None:
    n_features = on_root(ctx, lambda: read_info(folder / "five.h5").n_features)
    pairs = [(feature, group) for group in range(31) for feature in range(group % 4, n_features, 4)]
    lines = ["feature,group", *(f"{feature},{group}" for feature, group in pairs)]
    on_root(ctx, lambda: (folder / "groups.csv").write_text("\n".join(lines)))
    keys = (f"evolution.strategy={strategy}", "network.initial_topology=file:groups.csv")
    whole = run("whole", 1, 1, *keys)
    assert run("in 3", 3, 3, *keys) == whole
    if strategy == "static" and ctx.is_root:
        (checkpoint,) = read_replicas(folder / "in 3" / "checkpoints" / "checkpoint-000003.h5")
        structure = checkpoint.layers[0].connections["input"].structure
        rows = np.repeat(np.arange(31), np.diff(structure["indptr"]))
        assert set(zip(structure["indices"].tolist(), rows.tolist(), strict=True)) == set(pairs)


@pytest.mark.mpi(ranks=[3])
@pytest.mark.parametrize("backend", ["serial", "auto"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adagrad"])
def test_a_run_goes_on_in_another_number_of_parts(run: Run, backend: str, optimizer: str) -> None:
    keys = (f'runtime.hdf5="{backend}"', f'training.optimizer="{optimizer}"', "checkpoint.every_epochs=1")
    keys += ("evolution.strategy=set", *PRUNED)
    whole = run("whole", 1, 1, *keys)
    for model in (2, 1, 3):
        run("moved", model, model, *keys, stop_after=7)
    assert run("moved", 2, 2, *keys) == whole


@pytest.mark.mpi(ranks=[4])
def test_replicas_in_parts_are_averaged_as_whole_ones(run: Run) -> None:
    keys = ("parallel.sync_every_steps=3", "evolution.strategy=set")
    whole = run("whole", 2, 1, *keys)
    assert run("in parts", 4, 2, *keys) == whole
    # The replicas differ where these stop: the file has both.
    for ranks, model in ((4, 2), (2, 1)):
        run("moved", ranks, model, *keys, stop_after=2)
    assert run("moved", 4, 2, *keys) == whole


@pytest.mark.mpi(ranks=[3])
def test_what_ranks_cannot_hold_together_is_refused_on_all(
    ctx: ParallelContext,
    folder: Path,
    same_error_everywhere: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(model: int) -> None:
        request = RunRequest(folder / "run.toml", (f"parallel.model={model}",), folder / "refused")
        train_run(ctx, request, SilentReporter())

    assert "parallel.model = 2: not with 3 ranks" in same_error_everywhere(ConfigError, lambda: train(2))
    assert "the output layer has 3 neurons" in same_error_everywhere(ConfigError, lambda: train(6))
    name = "avx512" if ctx.rank else "avx2"
    monkeypatch.setattr(grid, "INSTRUCTION_SET", INSTRUCTION_SET._replace(name=name))
    told = same_error_everywhere(MachineError, lambda: train(3))
    assert "different vector instructions (avx2, avx512)" in told
    assert broadcast_object(ctx, not (folder / "refused").exists())
