"""Samples that are sequences or images: how many places a network reads of each, and how many inputs each place has."""

from __future__ import annotations

from math import prod

from hpc_sparse.config import RunConfig
from hpc_sparse.config.registry import STRATEGIES
from hpc_sparse.errors import ConfigError, DataError
from hpc_sparse.storage.dataset.samples import DatasetInfo

LARGEST_VOCABULARY = 4096
"""Tokens at most where connections grow by gradients, whose samples are then as many as there are tokens."""


def n_places(config: RunConfig, info: DatasetInfo) -> int:
    """Steps or pixels of each sample; 1 where the layers read neither, even if the samples are sequences.

    Raises
    ------
    DataError
        The layers read sequences, images, tokens or labels of steps, and the samples are others.
    ConfigError
        A layer cannot take the images that come out of the one below.
    """
    _check_tokens(config, info)
    _check_labels(config, info)
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
    """Input neurons for a data set: its features, or those of a step or a pixel, or its tokens."""
    return info.n_tokens or info.n_features // n_places(config, info)


def _check_tokens(config: RunConfig, info: DatasetInfo) -> None:
    layers = config.network.layers or ()
    if info.n_tokens and not (layers and layers[0].reads_tokens):
        raise DataError(
            f"{info.path}: holds tokens: expected numbers, for a first layer that reads no tokens; make it one "
            'of kind = "recurrent"'
        )

    strategy = STRATEGIES[config.evolution.strategy]
    if info.n_tokens > LARGEST_VOCABULARY and getattr(strategy, "needs_signals", False):
        raise DataError(
            f"{info.path}: {info.n_tokens} tokens: expected at most {LARGEST_VOCABULARY} with evolution.strategy = "
            f'"{strategy.name}", which computes gradients for all of them; use "set", or import with --vocabulary'
        )


def _check_labels(config: RunConfig, info: DatasetInfo) -> None:
    goes_on = config.network.gives_sequences
    if info.has_step_labels and not goes_on:
        raise DataError(
            f"{info.path}: has a label for each step: expected one for each sample, as the outputs are; set output = "
            '"all" in the last recurrent layer'
        )
    if goes_on and not info.has_step_labels:
        raise DataError(
            f"{info.path}: has one label for each sample: expected one for each step, as the outputs are; set output = "
            '"last" in the last recurrent layer'
        )


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
