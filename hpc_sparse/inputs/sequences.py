"""Samples that are sequences or images: how many places a network reads of each, and how many inputs each place has."""

from __future__ import annotations

from math import prod

from hpc_sparse.config import RunConfig
from hpc_sparse.errors import ConfigError, DataError
from hpc_sparse.storage.dataset.samples import DatasetInfo


def n_places(config: RunConfig, info: DatasetInfo) -> int:
    """Steps or pixels of each sample; 1 where the layers read neither, even if the samples are sequences.

    Raises
    ------
    DataError
        The layers read sequences or images, and the samples are none.
    ConfigError
        A layer cannot take the images that come out of the one below.
    """
    network = config.network
    if network.reads_images:
        return _n_pixels(config, info)
    if not network.reads_sequences:
        return 1
    if info.time_steps == 1:
        raise DataError(
            f"{info.path}: time_steps = 1: expected sequences, for layers that go through steps; import the data with "
            "--time-steps, or use other kinds of layers"
        )
    return info.time_steps


def n_inputs(config: RunConfig, info: DatasetInfo) -> int:
    """Input neurons for a data set: its features, or those of a step or a pixel."""
    return info.n_features // n_places(config, info)


def _n_pixels(config: RunConfig, info: DatasetInfo) -> int:
    try:
        found = prod(config.network.image(info.n_features))
    except ValueError as error:
        raise DataError(f"{info.path}: {error}") from None
    try:
        config.network.check_places(found)
    except ValueError as error:
        raise ConfigError(f"network.{error}") from None
    return found
