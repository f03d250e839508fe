"""What fails in a served run is the same error on every rank, and nobody waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hpc_sparse.errors import DataError, DivergedError, OutputError, RankError
from hpc_sparse.monitor.reporter import SilentReporter


class FailingReporter(SilentReporter):
    """Fails when it is told of an epoch."""

    def __init__(self, error: Exception, epoch: int) -> None:
        self._error, self._epoch = error, epoch

    def epoch(self, metrics: Any) -> None:
        if metrics.epoch == self._epoch:
            raise self._error


@pytest.mark.mpi(ranks=[4])
def test_what_fails_on_the_serving_rank_is_raised_on_every_rank_and_nobody_waits(
    run: Any, same_error_everywhere: Callable[..., str]
) -> None:
    # The workers compute when the first epoch is recorded, and have gone home when the last one is.
    for epoch, *options in (
        (1, "parallel.algorithm=wasap", "parallel.overlap=true"),
        (4, "parallel.algorithm=wasap"),
        (1, "parallel.algorithm=wassp", "parallel.phase2_share=0.5"),
        (4, "parallel.algorithm=wassp", "parallel.phase2_share=0.5"),
    ):
        full = FailingReporter(OutputError("metrics.jsonl: disk full"), epoch)
        message = same_error_everywhere(OutputError, lambda: run(*options, reporter=full))  # noqa: B023
        assert message == "OutputError: metrics.jsonl: disk full"
    # Nobody reads any more what is printed.
    closed = FailingReporter(BrokenPipeError("closed"), 2)
    message = same_error_everywhere(RankError, lambda: run("parallel.algorithm=wasap", reporter=closed))
    assert "BrokenPipeError: closed" in message


@pytest.mark.mpi(ranks=[4])
def test_divergence_is_told_by_every_rank(run: Any, same_error_everywhere: Callable[..., str]) -> None:
    for options in (
        ("parallel.algorithm=wasap",),
        ("parallel.algorithm=wasap", "parallel.overlap=true"),
        ("parallel.algorithm=wassp",),
    ):
        message = same_error_everywhere(
            DivergedError,
            lambda: run(*options, "optimizer.learning_rate=1e25"),  # noqa: B023
        )
        assert "epoch 1: training diverged" in message
    message = same_error_everywhere(
        DivergedError, lambda: run("parallel.phase2_share=0.5", "parallel.phase2_learning_rate=1e25")
    )
    assert "epoch 3: training diverged" in message


@pytest.mark.mpi(ranks=[4])
def test_fewer_samples_than_workers_are_refused_and_as_many_are_enough(
    run: Any, same_error_everywhere: Callable[..., str]
) -> None:
    run.data(n_train=2)
    message = same_error_everywhere(DataError, run)
    assert "2 training samples for 3 workers: expected at least one for each; start fewer ranks" in message
    run.data(n_train=3, n_test=2)
    for strategy in ("wasap", "wassp"):
        metrics, _ = run(f"parallel.algorithm={strategy}", "parallel.phase2_share=0.5")
        assert [line["epoch"] for line in metrics] == [1, 2, 3, 4]


@pytest.mark.mpi(ranks=[3])
def test_samples_that_workers_cannot_train_on_are_refused_before_anything_is_written(
    run: Any, same_error_everywhere: Callable[..., str]
) -> None:
    # The serving rank has no samples that could be wrong.
    message = same_error_everywhere(DataError, lambda: run("data.augmentation=cifar", name="refused"))
    assert "expected images of 32 x 32 x 3" in message
    assert not (run.folder / "refused").exists()
