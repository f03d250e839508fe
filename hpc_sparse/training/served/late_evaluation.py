"""Evaluation of a served network at the end of an epoch, while the next one is served."""

from __future__ import annotations

from hpc_sparse.monitor.metrics import EpochMetrics
from hpc_sparse.monitor.position import Phase
from hpc_sparse.network.network import Network
from hpc_sparse.training.clock import Clock
from hpc_sparse.training.evaluation import EpochEvaluation
from hpc_sparse.training.job import TrainingJob
from hpc_sparse.training.served.server_totals import ServerTotals


class LateEvaluation:
    """Evaluation of one epoch, which goes on a batch at a time.

    Parameters
    ----------
    job : TrainingJob
        With all samples of the test and validation parts.
    totals : ServerTotals
        Of the epoch; its seconds of evaluation are added.
    network : Network
        As it was at the end of the epoch; nobody changes it any more.
    """

    def __init__(self, job: TrainingJob, totals: ServerTotals, network: Network) -> None:
        self._job, self._totals, self._network = job, totals, network
        self._evaluation = EpochEvaluation(
            network,
            job.objective,
            job.dataset,
            job.make_assembler(),
            job.make_workspace(),
            job.config.training.batch_size,
        )

    def advance(self) -> bool:
        """Evaluate one more batch; False if there was none left."""
        with Clock(self._totals, "evaluate"):
            return self._evaluation.advance()

    def finish(self) -> EpochMetrics:
        """The metrics of the epoch, after the batches that are left."""
        with Clock(self._totals, "evaluate"):
            self._job.tracker.at(Phase.EVALUATING, self._totals.epoch)
            scores = self._evaluation.finish()
        return self._totals.to_metrics(
            self._network,
            scores,
            n_workers=self._job.ctx.size - 1,
            file_seconds=self._job.tracker.take_file_seconds(),
        )
