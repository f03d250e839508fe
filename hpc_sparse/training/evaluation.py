"""Loss and accuracy of a network on samples, spread over the ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpc_sparse.inputs.batches import BatchAssembler, ordered_batches
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.workspace import Workspace
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import Dataset, Samples


@dataclass(frozen=True)
class Scores:
    """Mean loss and accuracy at the end of an epoch.

    Attributes
    ----------
    test_loss, test_accuracy : float
        Not-a-number if there are no test samples.
    validation_loss, validation_accuracy : float or None
        None if nothing is held out.
    """

    test_loss: float
    test_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def as_metrics(self) -> dict[str, Any]:
        """The values by the names that they have in :class:`~hpc_sparse.monitor.metrics.EpochMetrics`."""
        return dict(vars(self))


class Evaluation:
    """An evaluation on one rank that goes on a batch at a time, so that other work can come in between.

    Parameters
    ----------
    network : Network
        Must not change before the evaluation is done.
    objective : Objective
    samples : Samples
    assembler : BatchAssembler
    workspace : Workspace
    batch_size : int
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        samples: Samples,
        assembler: BatchAssembler,
        workspace: Workspace,
        batch_size: int,
    ) -> None:
        self._network, self._objective, self._samples = network, objective, samples
        self._assembler, self._workspace = assembler, workspace
        self._left = ordered_batches(samples.n_samples, batch_size)[::-1]
        self.total_loss, self.n_correct, self.n_samples = 0.0, 0, samples.n_samples

    def advance(self) -> bool:
        """Evaluate one more batch; False if there was none left."""
        if not self._left:
            return False
        batch, labels = self._assembler.assemble(self._samples, self._left.pop())
        sums = self._network.forward(batch, self._workspace)
        delta = self._workspace.output_delta(batch.batch.n_samples)
        outcome = self._objective.evaluate(sums, labels, delta)
        self.total_loss += outcome.loss
        self.n_correct += outcome.n_correct
        return True

    def finish(self) -> tuple[float, float]:
        """Evaluate what is left; returns mean loss and accuracy, not-a-number if there are no samples."""
        while self.advance():
            pass
        n = self.n_samples
        return (self.total_loss / n, self.n_correct / n) if n else (float("nan"), float("nan"))


class EpochEvaluation:
    """The evaluations at the end of an epoch, of the test and of the validation part, as one that goes on by batches.

    Parameters
    ----------
    network, objective, assembler, workspace, batch_size
        As of :class:`Evaluation`.
    dataset : Dataset
        With all samples of both parts.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        dataset: Dataset,
        assembler: BatchAssembler,
        workspace: Workspace,
        batch_size: int,
    ) -> None:
        parts = [dataset.test] if dataset.validation is None else [dataset.test, dataset.validation]
        self._evaluations = [Evaluation(network, objective, part, assembler, workspace, batch_size) for part in parts]

    def advance(self) -> bool:
        """Evaluate one more batch; False if there was none left."""
        return any(evaluation.advance() for evaluation in self._evaluations)

    def finish(self) -> Scores:
        """Evaluate what is left."""
        return Scores(*(score for evaluation in self._evaluations for score in evaluation.finish()))


def evaluate(
    ctx: ParallelContext,
    network: Network,
    objective: Objective,
    shard: Samples,
    assembler: BatchAssembler,
    workspace: Workspace,
    batch_size: int,
) -> tuple[float, float]:
    """Mean loss and accuracy over the shards of all ranks, every sample counted once (collective).

    Returns
    -------
    loss, accuracy : float
        The same bits on every rank; not-a-number if there are no samples at all.
    """
    own = Evaluation(network, objective, shard, assembler, workspace, batch_size)
    own.finish()
    return mean_over_ranks(ctx, own.total_loss, own.n_correct, shard.n_samples)


def mean_over_ranks(ctx: ParallelContext, loss: float, n_correct: int, n_samples: int) -> tuple[float, float]:
    """Mean loss and accuracy from each rank's sums, added in rank order (collective)."""
    parts = gather_objects(ctx, (loss, n_correct, n_samples))
    n = sum(part[2] for part in parts)
    if n == 0:
        return float("nan"), float("nan")
    return sum(part[0] for part in parts) / n, sum(part[1] for part in parts) / n
