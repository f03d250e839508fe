"""Training on one's own: it learns, repeats itself bit by bit, goes on where it stopped, and notices divergence."""

from __future__ import annotations

import dataclasses
import re
import signal

import numpy as np
import pytest

from hpc_sparse.errors import DivergedError
from hpc_sparse.monitor.position import Phase
from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.monitor.stopping import StopRequest
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.parallel.agreement import network_digest
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.local_trainer import LocalTrainer
from hpc_sparse.training.replica_states import (
    initial_replica,
    replica_from_states,
    replica_to_states,
)

CTX = ParallelContext.serial(threads=1)


def start(config, dataset, replica=None, reporter=None, **options):
    """A trainer, and the replica that it trains."""
    replica = replica or initial_replica(config, dataset.info)
    job = TrainingJob(CTX, config, dataset, replica, reporter or SilentReporter(), **options)
    return LocalTrainer.start(job), replica


def run(config, dataset, first=1, replica=None, last=None):
    """Train to the end; the metrics of each epoch without times, and the replica."""
    trainer, replica = start(config, dataset, replica)
    history = [trainer.train_epoch(epoch) for epoch in range(first, (last or config.training.epochs) + 1)]
    return [without_times(metrics) for metrics in history], replica


def without_times(metrics):
    return {name: value for name, value in metrics.as_dict().items() if not name.endswith("seconds")}


def state_of(replica):
    velocities = [{name: values.tobytes() for name, values in state["velocity"].items()} for state in replica.states]
    return network_digest(replica.network), velocities


@pytest.mark.parametrize(("kind", "rate"), [("float32", 0.05), ("uint8", 0.05), ("csr", 0.005)])
def test_separable_classes_are_learnt(make_config, make_dataset, kind, rate):
    config = make_config("training.epochs=6", f"optimizer.learning_rate={rate}")
    history, replica = run(config, make_dataset(kind=kind))
    replica.check_invariants()
    assert history[-1]["test_accuracy"] > 0.95
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "mse", "mse_tanh"])
def test_every_loss_trains(make_config, make_dataset, loss):
    rate = {"mse_tanh": 0.02}.get(loss, 0.1)  # its gradients are four times those of a sigmoid
    config = make_config(f"training.loss={loss}", "training.epochs=8", f"optimizer.learning_rate={rate}")
    history, _ = run(config, make_dataset(n_classes=2))
    assert history[-1]["test_accuracy"] > 0.95
    assert history[-1]["test_loss"] < history[0]["test_loss"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("network.activation=relu", "optimizer.nesterov=true", "optimizer.schedule=cosine"),
        ("network.activation=leaky_relu", "network.alpha=0.1", "evolution.strategy=static"),
        ("network.density=1", "network.dropout=0", "optimizer.weight_decay=0.001"),
        ("network.initializer=xavier_uniform", "optimizer.schedule=step", "optimizer.warmup_epochs=2"),
        ("optimizer.velocity=bfloat16", "optimizer.nesterov=true", "optimizer.clip_norm=10"),
        ("network.hidden=[]", "network.density=0.9"),
        ("network.hidden=[40]", "training.batch_size=1", "optimizer.learning_rate=0.001"),
        ("training.batch_size=1000", "training.epochs=40", "data.standardize=false"),
    ],
)
def test_every_setting_trains(make_config, make_dataset, overrides):
    history, _ = run(make_config("training.epochs=6", *overrides), make_dataset())
    assert history[-1]["test_accuracy"] > 0.9


@pytest.mark.parametrize("velocity", ["float32", "bfloat16"])
def test_two_runs_are_bitwise_equal_on_any_number_of_threads(
    make_config, make_dataset, on_every_thread_count, velocity
):
    config, dataset = make_config(f"optimizer.velocity={velocity}"), make_dataset()
    alone, together = on_every_thread_count(lambda: run(config, dataset))
    again = run(config, dataset)
    assert alone[0] == together[0] == again[0]
    assert state_of(alone[1]) == state_of(together[1]) == state_of(again[1])


def test_another_seed_gives_another_run(make_config, make_dataset):
    runs = [run(make_config(f"training.seed={seed}"), make_dataset()) for seed in (3, 4)]
    assert runs[0][0] != runs[1][0]


@pytest.mark.parametrize(("kind", "velocity"), [("float32", "float32"), ("csr", "float32"), ("float32", "bfloat16")])
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(make_config, make_dataset, kind, velocity):
    settings = ("evolution.every_epochs=2", "training.epochs=5", f"optimizer.velocity={velocity}")
    config, dataset = make_config(*settings), make_dataset(kind=kind)
    whole, whole_replica = run(config, dataset)
    first, stopped = run(config, dataset, last=3)
    copies = [
        dataclasses.replace(
            state, **{name: array.copy() for name, array in vars(state).items() if isinstance(array, np.ndarray)}
        )
        for state in replica_to_states(stopped)
    ]
    rest, resumed = run(config, dataset, first=4, replica=replica_from_states(config, tuple(copies)))
    assert first + rest == whole
    assert state_of(resumed) == state_of(whole_replica)


def test_a_longer_run_begins_like_a_shorter_one(make_config, make_dataset):
    short, long = (run(make_config(f"training.epochs={n}"), make_dataset())[0] for n in (3, 5))
    assert long[:3] == short


def test_topologies_change_between_epochs_but_not_at_the_output(make_config, make_dataset):
    config, dataset = make_config("evolution.every_epochs=2", "training.epochs=5", "network.epsilon=3"), make_dataset()
    trainer, replica = start(config, dataset, is_debug=True)
    n_connections = [layer.topology.n_connections for layer in replica.network.layers]
    output = replica.network.layers[-1].topology
    changed = []
    for epoch in range(1, 6):
        before = [layer.topology for layer in replica.network.layers]
        metrics = trainer.train_epoch(epoch)
        after = [layer.topology for layer in replica.network.layers]
        grown = [len(np.setdiff1d(new.keys(), old.keys())) for new, old in zip(after, before, strict=True)]
        assert sum(grown) <= metrics.connections_changed
        changed.append(metrics.connections_changed > 0)
        assert [topology.n_connections for topology in after] == n_connections
    assert changed == [False, False, True, False, True]
    assert replica.network.layers[-1].topology is output


@pytest.mark.parametrize("rate", ["1e30", "1e6"])
def test_divergence_is_told_with_the_epoch_and_the_rate(make_config, make_dataset, rate):
    config = make_config(f"optimizer.learning_rate={rate}", "training.epochs=30")
    with pytest.raises(
        DivergedError, match=rf"epoch \d+: training diverged .*learning_rate = {re.escape(str(float(rate)))}"
    ) as caught:
        run(config, make_dataset())
    assert caught.value.exit_code == 3


def test_evaluation_counts_every_sample_once(make_config, make_dataset):
    dataset = make_dataset(n_test=101)
    trainer, _ = start(make_config("training.batch_size=20"), dataset)
    metrics = trainer.train_epoch(1)
    assert metrics.test_accuracy * 101 == pytest.approx(round(metrics.test_accuracy * 101))
    assert trainer.n_steps == 12


def test_the_reporter_hears_every_step(make_config, make_dataset):
    heard = []

    class Listener(SilentReporter):
        def step(self, n_done):
            heard.append(n_done)

    trainer, _ = start(make_config(), make_dataset(), reporter=Listener())
    trainer.train_epoch(1)
    assert heard == list(range(1, 13))


def test_who_asked_is_told_before_each_epoch_and_again_when_one_goes_on(make_config, make_dataset):
    heard, stop = [], StopRequest()
    trainer, replica = start(
        make_config("training.epochs=3"),
        make_dataset(),
        stop_request=stop,
        before_epoch=lambda job, epoch: heard.append((epoch, job.replica, job.tracker.position.phase)),
    )
    first = trainer.train_epochs(1, 1, lambda metrics: None)
    stop.receive(signal.SIGTERM)
    stopped = trainer.train_epochs(2, 3, lambda metrics: None)
    assert (len(first.history), stopped.history, stopped.stop_reason) == (1, [], signal.SIGTERM)
    trainer.train_epoch(2, stopped.mid_epoch)
    assert [epoch for epoch, _, _ in heard] == [1, 2, 2]
    assert all(told is replica for _, told, _ in heard)
    # The network has not evolved then, and the epoch before has been recorded.
    assert heard[1][2] == Phase.RECORDING


PRUNING = ("importance_pruning.mode=compact", "importance_pruning.after_epoch=0", "importance_pruning.percentile=30")


@pytest.mark.parametrize("kind", ["float32", "csr"])
def test_a_network_that_is_pruned_on_the_way_shrinks_and_goes_on_learning(make_config, make_dataset, kind):
    config = make_config(
        *(*PRUNING, "importance_pruning.every_epochs=3", "importance_pruning.input_percentile=20"),
        *("training.epochs=8", "optimizer.learning_rate=0.01"),
    )
    trainer, replica = start(config, make_dataset(kind=kind), is_debug=True)
    history = [trainer.train_epoch(epoch) for epoch in range(1, 9)]
    sizes = [(metrics.n_neurons, metrics.n_connections) for metrics in history]
    assert sizes[0] == sizes[2] > sizes[3] == sizes[5] > sizes[6] == sizes[7]
    assert sizes[-1] == (replica.network.n_neurons, replica.network.n_connections)
    assert replica.network.neuron_ids[0] is not None
    assert history[-1].test_accuracy > 0.9


@pytest.mark.parametrize("is_corrected", [False, True])
def test_velocities_follow_the_learning_rate_only_if_asked(make_config, make_dataset, is_corrected):
    settings = ("optimizer.schedule=step", "optimizer.step_epochs=1", "optimizer.step_factor=0.25")
    config = make_config(*settings, f"optimizer.momentum_correction={str(is_corrected).lower()}")
    (corrected, replica), (plain, other) = (start(each, make_dataset()) for each in (config, make_config(*settings)))
    for trainer in (corrected, plain):
        trainer.train_epoch(1)
    if is_corrected:
        other.change_rate(Sgd(0.9, corrects_momentum=True), 0.25)
    for trainer in (corrected, plain):
        trainer.train_epoch(2)
    assert state_of(replica) == state_of(other)
