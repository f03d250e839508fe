"""A trained network out of a checkpoint, as a model that predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import Float32Array, Int64Array
from hpc_sparse.errors import ArrayError, DataError
from hpc_sparse.inference.column_names import has_names, in_order, stored_names
from hpc_sparse.inference.inputs import checked_features, checked_lengths, checked_tokens, without_padding
from hpc_sparse.inference.network_pass import NetworkPass
from hpc_sparse.inference.outputs import to_classes, to_probabilities
from hpc_sparse.inputs.chain import FrontEndChain
from hpc_sparse.inputs.missing_values import FilledIn
from hpc_sparse.inputs.vocabulary import Vocabulary
from hpc_sparse.kernels.threads import at_most_threads
from hpc_sparse.models.stored import StoredNetwork
from hpc_sparse.network.network import Network
from hpc_sparse.network.objectives.registry import make_objective
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import Features

WITH_PLACES = (3, 4)
"""Dimensions of arrays of sequences, or of images with and without colours."""


def load_model(
    path: Path | str, threads: int | None = None, *, feature_names: Sequence[str] | None = None
) -> TrainedModel:
    """The network of a checkpoint, ready to predict; the average where it holds one per worker. Starts no MPI.

    Parameters
    ----------
    path : path
        A checkpoint.
    threads : int or None
        Largest number of threads; None for as many as numba has.
    feature_names : sequence of str, optional
        Names of the features, by which columns of a data frame are found; by default those of the run's data set, where
        it is still there and has them.

    Raises
    ------
    DataError, FileFormatError
        There is no such file, or it is not a checkpoint or damaged.
    """
    with at_most_threads(threads):
        stored = StoredNetwork.read(ParallelContext.serial(threads=1), Path(path))
    network, epoch = stored.replica.network, stored.checkpoint.epoch
    names = partial(stored_names, stored.config.data.path, Path(path)) if feature_names is None else feature_names
    return TrainedModel(network, stored.config, stored.front_end, epoch=epoch, threads=threads, feature_names=names)


class TrainedModel:
    """A trained network with everything that predictions depend on.

    Parameters
    ----------
    network : Network
        A network, which is not changed.
    config : RunConfig
        Configuration of the run it comes from.
    front_end : FrontEndChain
        Front ends of the run it comes from; by default features are taken as they are.
    epoch : int
        Epochs it was trained for.
    threads : int or None
        Largest number of threads; None for as many as numba has. A single sample takes one, unless the network is
        large.
    feature_names : sequence of str, callable or None
        Names of the features, or what finds them when a data frame comes; see :func:`load_model`.

    Attributes
    ----------
    network, config, epoch, threads
        As given.
    front_end : FrontEndChain
        With the choice of features that the network has inputs for.
    """

    def __init__(
        self,
        network: Network,
        config: RunConfig,
        front_end: FrontEndChain | None = None,
        *,
        epoch: int = 0,
        threads: int | None = None,
        feature_names: Sequence[str] | Callable[[], Sequence[str] | None] | None = None,
    ) -> None:
        self._given_names = feature_names
        self.network, self.config, self.epoch, self.threads = network, config, epoch, threads
        self.front_end = (front_end or FrontEndChain()).choosing(network.neuron_ids[0])
        self._pass = NetworkPass(network, self.front_end)

    @property
    def n_features(self) -> int:
        """Features of a sample: also those whose input neurons were removed, as far as they are known."""
        inputs = self.network.neuron_ids[0]
        if self.front_end.n_features is not None:
            return self.front_end.n_features
        return self.network.n_inputs if inputs is None else int(inputs[-1]) + 1

    @cached_property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features, if they are known."""
        given = self._given_names() if callable(self._given_names) else self._given_names
        if given is None:
            return None
        names, n_features = tuple(given), self.n_features
        if len(names) == n_features or (self._may_have_more and len(names) > n_features):
            return names
        if callable(self._given_names):
            return None  # the data set there is another one
        raise ArrayError(f"feature_names: {len(names)} names: expected {n_features}, one for each feature")

    @property
    def _may_have_more(self) -> bool:
        """Whether features beyond the last known one may have been removed."""
        return self.front_end.n_features is None and self.network.neuron_ids[0] is not None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return max(2, self.network.widths[-1])

    @property
    def output(self) -> str:
        """The output activation: softmax, sigmoid or tanh."""
        return make_objective(self.config).output

    def predict(self, X: Any, *, raw: bool = False, lengths: Any = None) -> Int64Array:
        """int64[n_samples]: the class of each sample, numbered as in the data set the network was trained on.

        Where the network has outputs for each step of a sequence, int64[n_samples, n_steps].

        Parameters
        ----------
        X : array_like or SciPy sparse matrix of numbers, [n_samples, n_features]
            As in the data set: features are standardised here if they were in training. Sequences may also be an array
            [n_samples, n_steps, n_features of a step], images one of [n_samples, rows, columns, colours]; tokens are
            integers [n_samples, n_steps]. Columns of a data frame are taken by their names, if those of the features
            are known.
        raw : bool
            As the import was given them, such as counts of terms: prepared here as it prepared the data set. Where it
            filled missing values, NaN stands for them, and features do without the flags that it added.
        lengths : array_like of integers, [n_samples], optional
            Steps of each sequence that count, where they differ; all by default. Beyond them, values may be anything.

        Raises
        ------
        ArrayError
            Not a matrix of finite numbers, of another number of features, or with indices outside of its shape; it is a
            ``ValueError``.
        DataError
            ``raw``: what the import would refuse, or the import prepared nothing.
        """
        return to_classes(self.weighted_sums(X, raw=raw, lengths=lengths))

    def predict_proba(self, X: Any, *, raw: bool = False, lengths: Any = None) -> Float32Array:
        """float32[n_samples, n_classes]: probabilities of the classes; see :meth:`predict`."""
        return to_probabilities(self.weighted_sums(X, raw=raw, lengths=lengths), self.output)

    def weighted_sums(self, X: Any, *, raw: bool = False, lengths: Any = None) -> Float32Array:
        """float32[n_samples, n_outputs]: the output layer before its activation (logits); see :meth:`predict`."""
        if lengths is not None and not has_names(X):
            X = without_padding(X, lengths, self.network.n_places)
        if self.network.reads_tokens:
            return self._outputs(checked_tokens(X, self.network.n_places, self.network.n_tokens), lengths)
        if self.network.n_places > 1 and getattr(X, "ndim", 0) in WITH_PLACES:
            X = X.reshape(X.shape[0], -1)
        filled = self.front_end.part(FilledIn) if raw else None
        n_features = self.n_features if filled is None else filled.n_raw
        if has_names(X):
            names = self.feature_names
            X = in_order(X, names if names is None or filled is None else names[:n_features])
        options = {"is_least": self._may_have_more, "may_miss": filled is not None}
        features = checked_features(X, n_features, **options)
        if raw:
            features = self._prepared(features)
        return self._outputs(features, lengths)

    def _outputs(self, features: Features, lengths: Any) -> Float32Array:
        if lengths is not None:
            lengths = checked_lengths(lengths, features.n_samples, self.network.n_places)
        with at_most_threads(self.threads):
            return self._pass.outputs(features, lengths)

    def generate(self, text: str, *, length: int = 200, temperature: float = 1.0, seed: int = 0) -> str:
        """``text`` as the network goes on with it, a character or a word at a time.

        Parameters
        ----------
        text : str
            What it begins with: at least one token, all of which the network was trained on.
        length : int
            Tokens to add.
        temperature : float
            What the weighted sums are divided by: lower ones give likelier tokens, 0 always the likeliest.
        seed : int
            Of the draws.

        Raises
        ------
        DataError
            The network was not trained on a text, or does not know a token.
        """
        from hpc_sparse.inference.generation import generate  # noqa: PLC0415 - few models are of texts

        vocabulary = self.front_end.part(Vocabulary)
        with at_most_threads(1):
            return generate(self.network, vocabulary, text, length=length, temperature=temperature, seed=seed)

    def _prepared(self, features: Features) -> Features:
        if not self.front_end.prepares:
            raise DataError(
                "raw = True: the data set that the network was trained on holds features as the import was given them, "
                "or the checkpoint does not say how they were prepared; leave raw out"
            )
        return self.front_end.prepare("X", features)

    def __repr__(self) -> str:
        widths = "-".join(str(width) for width in self.network.widths)
        return f"{type(self).__name__}({widths}, {self.network.n_connections} connections, epoch {self.epoch})"
