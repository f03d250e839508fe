"""The course of served runs: updates, phases, and what training without a server comes to."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hpc_sparse.monitor.reporter import SilentReporter
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info

# What write_small_data writes.
N_TRAIN, N_TEST = 331, 97
RECORDING_SECONDS = 0.2


class SlowReporter(SilentReporter):
    """Takes its time when it is told of an epoch, as a slow file system does."""

    def epoch(self, metrics: Any) -> None:
        time.sleep(RECORDING_SECONDS)


@pytest.mark.mpi(ranks=[3])
def test_the_time_that_recording_an_epoch_takes_is_that_of_files_in_both_phases(run: Any) -> None:
    for algorithm in ("wasap", "wassp"):
        options = (f"parallel.algorithm={algorithm}", "parallel.phase2_share=0.5")
        _, folder = run(*options, reporter=SlowReporter())
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["phase"] for line in lines] == [1, 1, 2, 2]
        # What an epoch's recording takes is counted in the next one.
        assert min(line["rank_seconds"]["files"][0] for line in lines[1:]) >= RECORDING_SECONDS


@pytest.mark.mpi(ranks=[4])
def test_an_epoch_of_wasap_is_as_many_updates_as_one_of_sequential_training(ctx: ParallelContext, run: Any) -> None:
    n_updates = N_TRAIN // 16
    for options in (
        ("evolution.drop_fraction=0.5",),
        ("parallel.overlap=true", "checkpoint.every_epochs=1"),
        ("parallel.max_staleness=1", "parallel.staleness_aware=true"),
        ("parallel.max_staleness=1", "parallel.overlap=true", "training.batch_size=200"),
    ):
        metrics, folder = run(*options)
        of_one = N_TRAIN // 200 if "training.batch_size=200" in options else n_updates
        assert [line["epoch"] for line in metrics] == [1, 2, 3, 4]
        assert [sum(line["staleness_counts"]) for line in metrics] == [of_one] * 4
        assert [line["phase"] for line in metrics] == [1] * 4
        assert {line["learning_rate"] for line in metrics} == {0.02}
        assert [line["connections_changed"] > 0 for line in metrics] == [False, True, True, True]
        if "parallel.max_staleness=1" in options:
            assert max(len(line["staleness_counts"]) for line in metrics) <= 2
            assert sum(line["n_discarded"] for line in metrics) > 0
        else:
            assert metrics[-1]["test_accuracy"] > 0.5
            assert not any(line["n_discarded"] for line in metrics)
        assert len(set(gather_objects(ctx, json.dumps(metrics)))) == 1
        assert read_checkpoint_info(run.checkpoint(folder, 4)).n_replicas == 0


@pytest.mark.mpi(ranks=[2])
def test_with_one_worker_wasap_and_wassp_are_bit_by_bit_the_same(run: Any) -> None:
    both = ("importance_pruning.mode=compact", "importance_pruning.after_epoch=0", "importance_pruning.every_epochs=2")
    (wasap, first), (wassp, second) = (
        run(f"parallel.algorithm={strategy}", *both, "parallel.phase2_share=0.3") for strategy in ("wasap", "wassp")
    )
    assert wasap == wassp
    assert run.state(first, 4) == run.state(second, 4)
    assert wasap[0]["staleness_counts"] == [N_TRAIN // 16]


@pytest.mark.mpi(ranks=[3])
def test_networks_shrink_in_phase_1_and_end_phase_2_with_as_many_connections(run: Any) -> None:
    pruning = ("importance_pruning.after_epoch=0", "importance_pruning.every_epochs=2")
    for number, options in enumerate(
        [
            ("importance_pruning.mode=compact", "importance_pruning.input_percentile=20"),
            ("importance_pruning.mode=released", "parallel.overlap=true"),
            ("importance_pruning.mode=compact", "parallel.algorithm=wassp"),
        ]
    ):
        run.data(kind=("sparse", "dense")[number % 2])
        metrics, folder = run(
            *pruning, *options, "training.epochs=8", "parallel.phase2_share=0.35", "checkpoint.every_epochs=1"
        )
        n_connections = [line["n_connections"] for line in metrics]
        shrinks = [after < before for before, after in pairwise(n_connections)]
        assert shrinks == [False, True, False, True, False, False, False]
        assert [line["phase"] for line in metrics] == [1] * 5 + [2] * 3
        targets = run.layer_sizes(folder, 5)
        assert run.layer_sizes(folder, 8) == targets
        assert list(read_replicas(run.checkpoint(folder, 6))[0].target_connections) == targets
        assert [len(line["parts_test_accuracy"]) for line in metrics] == [0] * 7 + [2]
        of_parts = np.array(metrics[-1]["parts_test_accuracy"]) * N_TEST
        np.testing.assert_allclose(of_parts, of_parts.round(), atol=1e-6)
        assert metrics[-1]["test_accuracy"] > 0.5
        assert [line["connections_changed"] > 0 for line in metrics] == [False] + [True] * 7
        final = read_replicas(run.checkpoint(folder, 8))[0]
        input_ids = final.neuron_ids[0] if final.neuron_ids else None
        assert (input_ids is not None) == ("importance_pruning.input_percentile=20" in options)


@pytest.mark.mpi(ranks=[3])
def test_a_run_without_test_samples_has_no_test_accuracies_and_goes_on_all_the_same(run: Any) -> None:
    run.data(n_test=0)
    for strategy in ("wasap", "wassp"):
        metrics, _ = run(f"parallel.algorithm={strategy}", "parallel.phase2_share=0.5")
        assert [line["test_accuracy"] for line in metrics] == [None] * 4
        assert metrics[-1]["parts_test_accuracy"] == [None, None]


@pytest.mark.mpi(ranks=[1])
def test_one_rank_trains_as_if_local_sgd_had_been_asked_for_and_says_so(
    run: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    local, first = run("parallel.algorithm=local_sgd")
    assert "there are no workers" not in capfd.readouterr().err
    for strategy in ("wasap", "wassp"):
        served, other = run(f"parallel.algorithm={strategy}")
        said = capfd.readouterr().err
        assert f"{strategy} on one rank: there are no workers, so this is sequential training" in said
        assert served == local
        assert run.state(other, 4) == run.state(first, 4)
