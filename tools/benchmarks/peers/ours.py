"""hpc_sparse itself."""

from __future__ import annotations

import numpy as np

from benchmarks import workload as w
from hpc_sparse.inputs.batches import BatchAssembler
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.kernels.threads import use_threads
from hpc_sparse.network.dropout import Dropout
from hpc_sparse.network.objectives.cross_entropy import CrossEntropy
from hpc_sparse.network.optimizers.sgd import Sgd
from hpc_sparse.network.replica import Replica
from hpc_sparse.network.tiles import Tiles
from hpc_sparse.rng import Purpose, step_key, stream_key
from hpc_sparse.storage.dataset.samples import DenseFeatures, Samples


class Trainer:
    """The training step of a run, without syncs and evolution."""

    def __init__(self, workload: w.Workload, n_threads: int) -> None:
        use_threads(n_threads)
        self._n_threads, self._workload = n_threads, workload
        n_features = workload.widths[0]
        self._replica = Replica.at_rest(workload.network)
        self._samples = Samples(DenseFeatures(workload.features), workload.labels)
        front_end = Standardise(np.zeros(n_features, np.float32), np.ones(n_features, np.float32))
        network = workload.network
        self._assembler = BatchAssembler(FrontEndChain((front_end,)), n_features, w.BATCH, network.tile_width)
        self._workspace = network.make_workspace(w.BATCH)
        self._keys = [stream_key(0, Purpose.DROPOUT, layer=n) for n in range(len(workload.widths) - 2)]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """int64[n]: classes of samples, float32[n, n_features]."""
        network, classes = self._replica.network, []
        for start in range(0, len(features), w.BATCH):
            chosen = features[start : start + w.BATCH]
            sums = network.forward(Tiles.of(chosen.T, network.tile_width), self._workspace).matrix()
            classes.append(sums[:, : len(chosen)].argmax(0))
        return np.concatenate(classes)

    def train(self, n_steps: int) -> None:
        use_threads(self._n_threads)
        for step in range(n_steps):
            batch, labels = self._assembler.assemble(self._samples, self._workload.batch(step))
            dropouts = [Dropout(w.DROPOUT, step_key(key, step)) for key in self._keys]
            self._replica.train_batch(
                batch,
                labels,
                CrossEntropy(),
                dropouts,
                Sgd(w.MOMENTUM),
                w.LEARNING_RATE,
                self._workspace,
            )
