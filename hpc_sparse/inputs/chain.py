"""All front ends of a network as one object, in the order in which samples pass them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import AnyArray, Int32Array
from hpc_sparse.errors import DataError
from hpc_sparse.inputs.chosen_features import ChosenFeatures
from hpc_sparse.inputs.protocol import FrontEnd, Gather, TrainingBatches
from hpc_sparse.inputs.registry import FRONT_ENDS
from hpc_sparse.network.connections.registry import unstructured
from hpc_sparse.network.layers.sparse import SparseLayer
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.dataset.samples import Dataset, DatasetInfo, Features, Samples

Part = TypeVar("Part", bound=FrontEnd)


@dataclass(frozen=True)
class FrontEndChain:
    """The front ends of a network, of which each takes what the one before gives.

    Attributes
    ----------
    parts : tuple of FrontEnd
        At most one of a kind; () for features as they are.
    """

    parts: tuple[FrontEnd, ...] = ()

    @classmethod
    def start(cls, ctx: ParallelContext, config: RunConfig, dataset: Dataset) -> FrontEndChain:
        """The front ends that a configuration asks for, fitted to the training shards of all ranks (collective).

        Raises
        ------
        DataError
            On every rank: the samples are not what a front end needs.
        """
        chain = cls.restore(config, _named({kind.name: kind.fit(ctx, config, dataset) for kind in FRONT_ENDS}))
        chain.check_fits(str(dataset.info.path), dataset.info.n_features, dataset.info.n_features)
        return chain

    @classmethod
    def known(cls, config: RunConfig, dataset: Dataset) -> FrontEndChain:
        """The front ends as far as the data set states what they need; one that has to be fitted raises DataError."""
        return cls.restore(config, _named({kind.name: kind.known(dataset) for kind in FRONT_ENDS}))

    @classmethod
    def restore(
        cls, config: RunConfig, arrays: Mapping[str, AnyArray], chosen: Int32Array | None = None
    ) -> FrontEndChain:
        """The front ends with the arrays of :meth:`arrays`.

        Parameters
        ----------
        config : RunConfig
            Of the run that they come from.
        arrays : dict of array
        chosen : int32[n_inputs] or None
            Features whose input neurons the network has left; None for all.

        Raises
        ------
        DataError
            The arrays are not those of front ends that are known, or that the configuration asks for.
        """
        if unknown := {name.partition("/")[0] for name in arrays} - {kind.name for kind in FRONT_ENDS}:
            known = ", ".join(kind.name for kind in FRONT_ENDS)
            raise DataError(f"front end {min(unknown)}: unknown; known are {known}")
        found = [kind.restore(config, _own(config, arrays, kind)) for kind in FRONT_ENDS]
        return cls(tuple(part for part in found if part is not None)).choosing(chosen)

    @property
    def n_features(self) -> int | None:
        """Features that a sample must have; None for any number."""
        return next((part.n_features for part in self.parts if part.n_features is not None), None)

    @property
    def chosen(self) -> Int32Array | None:
        """int32[n_inputs]: the chosen features; None for all."""
        part = self.part(ChosenFeatures)
        return None if part is None else part.chosen

    @property
    def prepares(self) -> bool:
        """Whether raw features are prepared for predictions."""
        return any(type(part).prepare is not FrontEnd.prepare for part in self.parts)

    def part(self, kind: type[Part]) -> Part | None:
        """The front end of a kind; None if there is none."""
        return next((part for part in self.parts if isinstance(part, kind)), None)

    def arrays(self) -> dict[str, AnyArray]:
        """What a checkpoint stores, each array by ``front end/array``."""
        return _named({part.name: part.arrays() for part in self.parts})

    def choosing(self, chosen: Int32Array | None) -> FrontEndChain:
        """The chain for a network whose inputs are these features (int32[n_inputs], increasing); None for all."""
        parts = tuple(part for part in self.parts if not isinstance(part, ChosenFeatures))
        if chosen is not None:
            parts = (*parts, ChosenFeatures(chosen, self.n_features))
        return replace(self, parts=parts)

    def check_fits(self, where: str, n_features: int, n_inputs: int) -> None:
        """Check that samples of ``n_features`` features give the values of ``n_inputs`` input neurons.

        Raises
        ------
        DataError
            A front end is for another number of features, or the last one gives another number of values.
        """
        n_values = n_features
        for part in self.parts:
            if part.n_features not in {None, n_values}:
                raise DataError(f"{where}: front end {part.name}: {part.n_features} features: expected {n_values}")
            if isinstance(part, ChosenFeatures) and part.n_least > n_values:
                raise DataError(f"{where}: input {part.n_least - 1}: must be < {n_values}, the features")
            n_values = part.n_inputs(n_values)
        if n_values != n_inputs:
            raise DataError(f"{where}: front ends give {n_values} values per sample: expected {n_inputs} inputs")

    def check_data(self, dataset: Dataset) -> None:
        """Check that the samples of a data set mean what those of the training meant (DataError)."""
        for part in self.parts:
            part.check_data(dataset)

    def copied(self) -> FrontEndChain:
        """The same with arrays of its own, which can be written to."""
        return replace(self, parts=tuple(part.copied() for part in self.parts))

    def n_inputs(self, n_features: int) -> int:
        """Input neurons for samples of so many features."""
        for part in self.parts:
            n_features = part.n_inputs(n_features)
        return n_features

    def fused(self) -> tuple[Gather, tuple[FrontEnd, ...]]:
        """The pass over samples that does the first front ends on the way, and the others, for the batch it makes."""
        gather = Gather()
        for number, part in enumerate(self.parts):
            with_part = part.fused(gather)
            if with_part is None:
                return gather, self.parts[number:]
            gather = with_part
        return gather, ()

    def prepare(self, where: str, features: Features) -> Features:
        """Raw features as the import prepared those of the data set."""
        for part in self.parts:
            features = part.prepare(where, features)
        return features

    def training_batches(self, shard: Samples, seed: int, replica: int) -> TrainingBatches | None:
        """Transformed samples of a replica's shard for training; None if they stay as they are."""
        found = [part.training_batches(shard, seed, replica) for part in self.parts]
        own = [batches for batches in found if batches is not None]
        assert len(own) <= 1, "one front end transforms training samples"
        return own[0] if own else None

    def folded(self, config: RunConfig, layer: SparseLayer, kept: int = 0) -> tuple[RunConfig, SparseLayer]:
        """The configuration and the first layer of the same network with the first ``kept`` front ends only.

        Raises
        ------
        InputError
            A front end cannot be folded into a layer.
        """
        if self.parts[kept:]:
            acting = unstructured(layer.topology, layer.incoming.to_csr().data)
            layer = replace(layer, incoming=acting)
        for part in reversed(self.parts[kept:]):
            config, layer = part.without(config), part.fold(layer)
        return config, layer


def planned_bytes(config: RunConfig, info: DatasetInfo, stride: int) -> int:
    """Bytes that front ends take in a run beyond the batch itself, whose rows have ``stride`` values."""
    return sum(kind.planned_bytes(config, info, stride) for kind in FRONT_ENDS)


def any_samples(config: RunConfig) -> RunConfig:
    """The configuration without the front ends that take samples of one kind only."""
    for kind in FRONT_ENDS:
        if not kind.fits_any_samples:
            config = kind.without(config)
    return config


def changed_arrays(before: Mapping[str, AnyArray], now: Mapping[str, AnyArray]) -> list[str]:
    """Names of the arrays of front ends that act in training and differ."""
    acting = {kind.name for kind in FRONT_ENDS if kind.acts_in_training}
    names = [name for name in {**before, **now} if name.partition("/")[0] in acting]
    both = before.keys() & now.keys()
    return [name for name in names if name not in both or not np.array_equal(before[name], now[name])]


def _named(arrays: Mapping[str, Mapping[str, AnyArray]]) -> dict[str, AnyArray]:
    return {f"{kind}/{name}": array for kind, own in arrays.items() for name, array in own.items()}


def _own(config: RunConfig, arrays: Mapping[str, AnyArray], kind: type[FrontEnd]) -> dict[str, AnyArray]:
    """The arrays of a kind: all or none, and all if the kind has been asked for by a key of its own."""
    start = f"{kind.name}/"
    own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    is_asked = kind.section is not None and kind.settings(config) is not None
    if (own or is_asked) and own.keys() != set(kind.array_names):
        found = ", ".join(own) or "none"
        raise DataError(f"front end {kind.name}: arrays {found}: expected {', '.join(kind.array_names)}")
    return own
