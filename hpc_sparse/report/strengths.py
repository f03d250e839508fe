"""Strength of the neurons in the checkpoints of a run: sums of absolute weights (neuron importance)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import Float64Array, Int64Array
from hpc_sparse.errors import InputError
from hpc_sparse.network.connections.protocol import INPUT
from hpc_sparse.network.layers.registry import connections_of
from hpc_sparse.report.stored_run import StoredRun
from hpc_sparse.storage.checkpoint.file import read_replicas
from hpc_sparse.storage.checkpoint.state import Checkpoint

MOST_CHECKPOINTS = 6
"""Most checkpoints of a run that are read and shown."""


@dataclass(frozen=True)
class Strengths:
    """The neurons of one checkpoint; of the first network where it holds several.

    Attributes
    ----------
    epoch : int
    hidden : tuple of float64[width]
        Sum of the incoming absolute weights (Curci et al. 2021), by hidden layer, without removed neurons.
    inputs : float64[n_features]
        Sum of the outgoing absolute weights; not-a-number for an input that was removed.
    """

    epoch: int
    hidden: tuple[Float64Array, ...]
    inputs: Float64Array

    @property
    def has_lost_inputs(self) -> bool:
        """Whether inputs were removed."""
        return bool(np.isnan(self.inputs).any())

    @property
    def known_inputs(self) -> Int64Array:
        """Numbers of the inputs that were not removed."""
        return np.flatnonzero(np.isfinite(self.inputs))


def read_strengths(run: StoredRun) -> tuple[list[Strengths], list[str]]:
    """The strengths in checkpoints of a run, oldest first; and what is wrong with those that cannot be read."""
    found, problems = [], []
    for path in spread(list(run.checkpoints.values()), MOST_CHECKPOINTS):
        try:
            found.append(strengths_of(read_replicas(path)[0]))
        except InputError as error:
            problems.append(str(error))
    return found, problems


def spread(paths: Sequence[Path], most: int) -> list[Path]:
    """A subset of a series: the first, the last, and others evenly between them."""
    if len(paths) <= most:
        return list(paths)
    return [paths[round(position)] for position in np.linspace(0, len(paths) - 1, most)]


def strengths_of(checkpoint: Checkpoint) -> Strengths:
    """The strengths of the neurons of a checkpoint."""
    incoming = [connections_of(layer)[INPUT] for layer in checkpoint.layers]
    removed = checkpoint.neuron_ids[0] if checkpoint.neuron_ids else None
    # Of a sequence or an image, each place has the same inputs; taps read them at several places.
    of_place = incoming[0].outgoing_strength().reshape(-1, checkpoint.layers[0].shape[1]).sum(axis=0)
    inputs = np.tile(of_place, max(layer.n_places for layer in checkpoint.layers))
    if removed is not None:
        n_features = int(removed[-1]) + 1 if checkpoint.mean is None else checkpoint.mean.size
        kept, inputs = inputs, np.full(n_features, np.nan)
        inputs[removed] = kept
    # The sums of a layer's gates are those of all neurons, gate after gate.
    hidden = tuple(
        connections.incoming_strength().reshape(-1, layer.shape[0]).sum(axis=0)
        for layer, connections in zip(checkpoint.layers[:-1], incoming, strict=False)
    )
    return Strengths(checkpoint.epoch, hidden, inputs)
