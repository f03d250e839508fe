"""When a run goes on exactly where its ranks were, and when from one network at the start of an epoch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.kernels.simd import machine
from hpc_sparse.models.inspection import describe_checkpoint
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.network import network as networks
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.runs import starting_point as starting_points
from hpc_sparse.runs.plan import RunRequest
from hpc_sparse.runs.run import train_run
from hpc_sparse.runs.starting_point import goes_on_exactly
from hpc_sparse.storage.checkpoint.file import read_checkpoint
from hpc_sparse.storage.checkpoint.folder import newest_checkpoint
from hpc_sparse.storage.checkpoint.info import CheckpointInfo
from hpc_sparse.storage.checkpoint.layer_arrays import check_layer
from hpc_sparse.training.replica_states import initial_replica, replica_to_states

CTX = ParallelContext.serial(threads=1)
SERVED = ("parallel.algorithm=wassp", "parallel.phase2_share=0.5", "training.epochs=10")


def stored(config, epoch, step_in_epoch, n_replicas):
    """What matters of a checkpoint on three ranks."""
    unused = dict.fromkeys(field.name for field in dataclasses.fields(CheckpointInfo))
    facts = {"epoch": epoch, "step_in_epoch": step_in_epoch, "n_replicas": n_replicas, "n_ranks": 3}
    return CheckpointInfo(**unused | facts | {"path": Path("net.h5"), "config_text": config.to_toml()})


def on(n_ranks):
    return dataclasses.replace(CTX, size=n_ranks)


@pytest.mark.parametrize(
    ("epoch", "step_in_epoch", "n_replicas", "n_epochs", "expected"),
    [
        # Phase 1 lasts for half of the epochs. Between two epochs:
        (3, 0, 0, 10, True),
        (7, 0, 2, 10, True),
        (7, 0, 2, 12, True),
        (7, 0, 2, 14, False),
        (7, 0, 2, 20, False),
        # Within one:
        (4, 5, 0, 10, True),
        (4, 5, 0, 20, True),
        (4, 5, 0, 8, False),
        (5, 5, 2, 10, True),
        (7, 5, 2, 14, True),
        (7, 5, 2, 16, False),
    ],
)
def test_an_epoch_goes_on_in_the_phase_in_which_it_began(
    make_config, epoch, step_in_epoch, n_replicas, n_epochs, expected
):
    info = stored(make_config(*SERVED), epoch, step_in_epoch, n_replicas)
    config = make_config(*SERVED, f"training.epochs={n_epochs}")
    assert goes_on_exactly(on(3), config, info) == expected


def test_a_network_of_all_ranks_between_two_epochs_goes_on_anywhere(make_config):
    info = stored(make_config(), 3, 0, 0)
    for n_ranks in (1, 3, 4):
        assert goes_on_exactly(on(n_ranks), make_config("training.batch_size=7", *SERVED), info)


@pytest.mark.parametrize("n_replicas", [0, 3])
def test_an_unfinished_epoch_goes_on_with_the_same_ranks_batches_and_strategy_only(make_config, n_replicas):
    info = stored(make_config(), 3, 5, n_replicas)
    assert goes_on_exactly(on(3), make_config("optimizer.momentum=0.5", "training.epochs=9"), info)
    assert not goes_on_exactly(on(2), make_config(), info)
    assert not goes_on_exactly(on(3), make_config("training.batch_size=7"), info)
    assert not goes_on_exactly(on(3), make_config("parallel.sync_every_steps=2"), info)
    assert not goes_on_exactly(on(3), make_config("parallel.algorithm=wasap"), info)


def test_a_network_that_has_lost_neurons_goes_on_in_the_tiles_that_it_began_with(
    tmp_path, write_small_data, monkeypatch
):
    """On a machine on which tiles are narrow for this network, but not for what is left of it."""
    write_small_data(tmp_path / "data.h5")
    text = """
        data = {path = "data.h5"}
        network = {hidden = [200, 100], epsilon = 5}
        training = {epochs = 4, batch_size = 200, seed = 3}
        [importance_pruning]
        mode = "compact"
        after_epoch = 1
        every_epochs = 1
        percentile = 80
        input_percentile = 50
    """
    (tmp_path / "run.toml").write_text(text)
    widths = []

    def tile_width(layers, **_):
        widths.append(max(layers))
        return machine.WIDTHS[0] if max(layers) == 200 else machine.WIDTHS[-1]

    for module in (networks, starting_points):
        monkeypatch.setattr(module, "tile_width", tile_width)

    def train(name, *overrides, resume=None):
        request = RunRequest(tmp_path / "run.toml", overrides, tmp_path / name, resume=resume)
        train_run(CTX, request, SilentReporter())
        return read_checkpoint(CTX, newest_checkpoint(tmp_path / name / "checkpoints"))

    whole = train("whole")
    train("parts", "training.epochs=3")
    resumed = train("parts", resume="auto")
    assert max(layer.shape[0] for layer in resumed.layers) < 200
    assert min(widths) < 200
    for one, other in zip(whole.layers, resumed.layers, strict=True):
        for name, values in one.parameters.items():
            assert other.parameters[name].tobytes() == values.tobytes()


def test_velocities_of_another_type_are_converted_with_one_line(tmp_path, write_small_data, capsys):
    write_small_data(tmp_path / "data.h5")
    (tmp_path / "run.toml").write_text(
        "data = {path = 'data.h5'}\nnetwork = {hidden = [20], epsilon = 5}\ntraining = {epochs = 1, batch_size = 20}"
    )

    def train(n_epochs, velocity):
        capsys.readouterr()
        overrides = (f"training.epochs={n_epochs}", f"optimizer.velocity={velocity}", "checkpoint.keep_last=9")
        summary = train_run(
            CTX, RunRequest(tmp_path / "run.toml", overrides, tmp_path / "run", resume="auto"), SilentReporter()
        )
        assert summary["optimizer_states"] == {"weight_velocity": velocity, "bias_velocity": "float32"}
        return newest_checkpoint(tmp_path / "run/checkpoints")

    paths = [train(number, velocity) for number, velocity in ((1, "float32"), (2, "bfloat16"))]
    line = f"{paths[0]} has weight_velocity in float32, this run keeps it in bfloat16: it is converted"
    assert capsys.readouterr().err.count(line) == 1
    paths.append(train(3, "bfloat16"))
    assert "converted" not in capsys.readouterr().err
    paths.append(train(4, "float32"))
    line = f"{paths[2]} has weight_velocity in bfloat16, this run keeps it in float32: it is converted"
    assert capsys.readouterr().err.count(line) == 1
    states = [read_checkpoint(CTX, path).layers[0].states for path in paths]
    assert [each["weight_velocity"].dtype for each in states] == [np.float32, np.uint16, np.uint16, np.float32]
    assert all(each["bias_velocity"].dtype == np.float32 for each in states)
    names = [describe_checkpoint(path)["optimizer_states"]["weight_velocity"] for path in paths]
    assert names == ["float32", "bfloat16", "bfloat16", "float32"]


def test_an_infinite_velocity_in_a_checkpoint_is_refused(tmp_path, make_config, make_dataset):
    states = replica_to_states(initial_replica(make_config("optimizer.velocity=bfloat16"), make_dataset().info))
    states[1].states["weight_velocity"][3] = 0x7F80
    with pytest.raises(FileFormatError, match=r"net.h5: states/weight_velocity\[3\] = inf: must be finite"):
        check_layer(states[1], lambda name: f"net.h5: {name}")
