"""Samples that are sequences: how many steps the network of a run reads of each, and how many inputs a step has."""

from __future__ import annotations

from hpc_sparse.config import RunConfig
from hpc_sparse.errors import DataError
from hpc_sparse.storage.dataset.samples import DatasetInfo


def n_places(config: RunConfig, info: DatasetInfo) -> int:
    """Steps of each sample; 1 where the layers read no sequences, even if the samples are some.

    Raises
    ------
    DataError
        The layers read sequences, and the samples are none.
    """
    if not config.network.reads_sequences:
        return 1
    if info.time_steps == 1:
        raise DataError(
            f"{info.path}: time_steps = 1: expected sequences, for layers that go through steps; import the data with "
            "--time-steps, or use other kinds of layers"
        )
    return info.time_steps


def n_inputs(config: RunConfig, info: DatasetInfo) -> int:
    """Input neurons for a data set: its features, or those of a step."""
    return info.n_features // n_places(config, info)
