"""A trained network out of a checkpoint, as a model that predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import Float32Array, Int64Array
from hpc_sparse.errors import DataError
from hpc_sparse.importers.tf_idf import TermWeights, check_counts
from hpc_sparse.inference.inputs import checked_features
from hpc_sparse.inference.network_pass import NetworkPass
from hpc_sparse.inference.outputs import to_classes, to_probabilities
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.losses import LOSSES
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import CsrFeatures, Features


def load_model(path: Path | str, threads: int | None = None, *, term_weights: Path | str | None = None) -> TrainedModel:
    """The network of a checkpoint, ready to predict; the average where it holds one per worker. Starts no MPI.

    Parameters
    ----------
    path : path
        Of a checkpoint.
    threads : int or None
        At most so many threads compute; None for as many as numba has.
    term_weights : path, optional
        Of the data set it was trained on, imported with ``--tf-idf``: the model can then be given raw counts of terms,
        which it weighs as that import did.

    Raises
    ------
    DataError, FileFormatError
        There is no such file, or it is not a checkpoint or damaged; or the data set has no weights of as many terms.
    """
    weights = None if term_weights is None else TermWeights.read(term_weights)
    stored = StoredNetwork.read(ParallelContext.serial(threads=1), Path(path))
    checkpoint = stored.checkpoint
    statistics = (checkpoint.mean, checkpoint.deviation)
    model = TrainedModel(
        stored.replica.network,
        stored.config,
        *statistics,
        epoch=checkpoint.epoch,
        threads=threads,
        term_weights=weights,
    )
    if weights is not None and not model.takes(weights.idf.size):
        raise DataError(
            f"{term_weights}: weights of {weights.idf.size} terms: {path} was trained on {model.n_features}"
        )
    return model


class TrainedModel:
    """A trained network with everything that predictions depend on.

    Parameters
    ----------
    network : Network
        Of which nothing is changed.
    config : RunConfig
        Of the run it comes from.
    mean, deviation : float32[n_features] or None
        Statistics of the training samples, if they were dense; used if ``data.standardize`` says so.
    epoch : int
        Epochs it was trained for.
    threads : int or None
        At most so many threads compute; None for as many as numba has. A single sample takes one, unless the network
        is large.
    term_weights : TermWeights or None
        With which raw counts of terms are weighted first.

    Attributes
    ----------
    network, config, mean, deviation, epoch, threads, term_weights
        As given.
    """

    def __init__(
        self,
        network: Network,
        config: RunConfig,
        mean: Float32Array | None = None,
        deviation: Float32Array | None = None,
        *,
        epoch: int = 0,
        threads: int | None = None,
        term_weights: TermWeights | None = None,
    ) -> None:
        self.network, self.config, self.mean, self.deviation = network, config, mean, deviation
        self.epoch, self.threads, self.term_weights = epoch, threads, term_weights
        self._pass = NetworkPass(network, self.scaling)

    @property
    def scaling(self) -> tuple[Float32Array, Float32Array] | None:
        """Mean and deviation with which features are standardised; None if they are taken as they are."""
        if self.mean is None or self.deviation is None or not self.config.data.standardize:
            return None
        return self.mean, self.deviation

    @property
    def n_features(self) -> int:
        """Features of a sample: also those whose input neurons were removed, as far as they are known."""
        inputs = self.network.neuron_ids[0]
        if self.mean is not None:
            return self.mean.size
        return self.network.widths[0] if inputs is None else int(inputs[-1]) + 1

    def takes(self, n_features: int) -> bool:
        """Whether samples may have so many features: those that are known, or more where the last ones were removed."""
        return n_features == self.n_features or (self._may_have_more and n_features > self.n_features)

    @property
    def n_classes(self) -> int:
        """Classes that are told apart."""
        return max(2, self.network.widths[-1])

    @property
    def output(self) -> str:
        """The output activation: softmax, sigmoid or tanh."""
        return LOSSES[self.config.training.loss].output

    def predict(self, X: Any, *, raw: bool = False) -> Int64Array:
        """int64[n_samples]: the class of each sample, numbered as in the data set the network was trained on.

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of numbers, [n_samples, n_features]
            As in the data set: features are standardised here if they were in training.
        raw : bool
            As the import was given them, such as counts of terms: prepared here as it prepared the data set.

        Raises
        ------
        DataError
            Not a matrix of finite numbers, of another number of features, or sparse where features are standardised.
            ``raw``: what the import would refuse, or the model does not know how they are prepared.
        """
        return to_classes(self.weighted_sums(X, raw=raw))

    def predict_proba(self, X: Any, *, raw: bool = False) -> Float32Array:
        """float32[n_samples, n_classes]: probabilities of the classes; see :meth:`predict`."""
        return to_probabilities(self.weighted_sums(X, raw=raw), self.output)

    def weighted_sums(self, X: Any, *, raw: bool = False) -> Float32Array:
        """float32[n_samples, n_outputs]: the output layer before its activation (logits); see :meth:`predict`."""
        features = checked_features(X, self.n_features, is_least=self._may_have_more)
        if raw:
            features = self._weighted(features)
        if isinstance(features, CsrFeatures) and self.scaling is not None:
            raise DataError("X: sparse: expected dense features, which the network was trained to get standardised")
        with at_most_threads(self.threads):
            return self._pass.outputs(features)

    @property
    def _may_have_more(self) -> bool:
        """Whether the network does not know how many features there were before inputs were removed."""
        return self.mean is None and self.network.neuron_ids[0] is not None

    def _weighted(self, features: Features) -> CsrFeatures:
        weights = self.term_weights
        if weights is None:
            raise DataError("raw = True: no weights of terms: expected a model loaded with term_weights = a data set")
        counts = check_counts("X", features)
        if counts.n_features != weights.idf.size:
            raise DataError(f"X: counts of {counts.n_features} terms: expected {weights.idf.size}, which have weights")
        return weights.weigh(counts)

    def __repr__(self) -> str:
        widths = "-".join(str(width) for width in self.network.widths)
        return f"{type(self).__name__}({widths}, {self.network.n_connections} connections, epoch {self.epoch})"
