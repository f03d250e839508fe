"""Loss and accuracy of a network on samples, spread over the ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpc_sparse.dtypes import INDEX
from hpc_sparse.inputs.batches import BatchAssembler, ordered_batches, strands
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.protocol import Objective
from hpc_sparse.network.workspace import Workspace
from hpc_sparse.parallel.collectives import gather_objects
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import NO_LABEL, Dataset, DatasetInfo, Samples

LARGEST_LOSS = 700.0
"""Of which the exponential is still a number."""


@dataclass(frozen=True)
class Scores:
    """Mean loss and accuracy at the end of an epoch.

    Attributes
    ----------
    test_loss, test_accuracy : float
        Not-a-number if there are no test samples.
    validation_loss, validation_accuracy : float or None
        None if nothing is held out.
    is_of_tokens : bool
        Whether the loss is that of predicting tokens one after the other.
    """

    test_loss: float
    test_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    is_of_tokens: bool = False

    def as_metrics(self) -> dict[str, Any]:
        """The values by the names that they have in :class:`~hpc_sparse.monitor.metrics.EpochMetrics`."""
        values = {name: value for name, value in vars(self).items() if name != "is_of_tokens"}
        if self.is_of_tokens:
            values |= of_tokens("test", self.test_loss)
            values |= {} if self.validation_loss is None else of_tokens("validation", self.validation_loss)
        return values


def of_tokens(part: str, loss: float) -> dict[str, float]:
    """A mean loss as people compare it: in bits of each token, and as a perplexity."""
    return {f"{part}_bits_per_token": loss / math.log(2), f"{part}_perplexity": math.exp(min(loss, LARGEST_LOSS))}


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
    is_text : bool
        Whether the samples follow each other in a text: states then go on from one to the next, in as many strands as a
        batch has samples.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        samples: Samples,
        assembler: BatchAssembler,
        workspace: Workspace,
        batch_size: int,
        *,
        is_text: bool = False,
    ) -> None:
        self._network, self._objective, self._samples = network, objective, samples
        self._assembler, self._workspace, self._is_text = assembler, workspace, is_text
        self._left = (strands if is_text else ordered_batches)(samples.n_samples, batch_size)[::-1]
        self._goes_on = False
        self.total_loss, self.n_correct, self.n_scored = 0.0, 0, samples.n_scored

    def advance(self) -> bool:
        """Evaluate one more batch; False if there was none left."""
        if not self._left:
            return False
        chosen = self._left.pop()
        batch, labels = self._assembler.assemble(self._samples, chosen)
        if self._is_text:
            labels = np.where(chosen[:, None] < 0, INDEX(NO_LABEL), labels)
        sums = self._network.forward(batch, self._workspace, goes_on=self._goes_on)
        self._goes_on = self._is_text
        delta = self._workspace.output_delta(batch.batch.n_samples)
        outcome = self._objective.evaluate(sums, labels, delta)
        self.total_loss += outcome.loss
        self.n_correct += outcome.n_correct
        return True

    def finish(self) -> tuple[float, float]:
        """Evaluate what is left; returns mean loss and accuracy, not-a-number if there are no samples."""
        while self.advance():
            pass
        n = self.n_scored
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
        self._info, settings = dataset.info, (assembler, workspace, batch_size)
        self._evaluations = [
            Evaluation(network, objective, part, *settings, is_text=dataset.info.is_text) for part in parts
        ]

    def advance(self) -> bool:
        """Evaluate one more batch; False if there was none left."""
        return any(evaluation.advance() for evaluation in self._evaluations)

    def finish(self) -> Scores:
        """Evaluate what is left."""
        scores: Any = (score for evaluation in self._evaluations for score in evaluation.finish())
        return replace(Scores(*scores), is_of_tokens=is_of_tokens(self._info))


def evaluate(
    ctx: ParallelContext,
    network: Network,
    objective: Objective,
    shard: Samples,
    assembler: BatchAssembler,
    workspace: Workspace,
    batch_size: int,
    *,
    is_text: bool = False,
) -> tuple[float, float]:
    """Mean loss and accuracy over the shards of all ranks, every sample counted once (collective).

    Returns
    -------
    loss, accuracy : float
        The same bits on every rank; not-a-number if there are no samples at all.
    """
    own = Evaluation(network, objective, shard, assembler, workspace, batch_size, is_text=is_text)
    own.finish()
    return mean_over_ranks(ctx, own.total_loss, own.n_correct, own.n_scored)


def is_of_tokens(info: DatasetInfo) -> bool:
    """Whether a data set is for predicting tokens one after the other."""
    return info.has_step_labels and info.is_text


def mean_over_ranks(ctx: ParallelContext, loss: float, n_correct: int, n_scored: int) -> tuple[float, float]:
    """Mean loss and accuracy from each rank's sums, added in rank order (collective)."""
    parts = gather_objects(ctx, (loss, n_correct, n_scored))
    n = sum(part[2] for part in parts)
    if n == 0:
        return float("nan"), float("nan")
    return sum(part[0] for part in parts) / n, sum(part[1] for part in parts) / n
