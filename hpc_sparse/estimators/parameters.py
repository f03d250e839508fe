"""From an estimator's parameters to the configuration of a run, checked by the same rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, ValidationError

from hpc_sparse.config import RunConfig, Section
from hpc_sparse.config.layers import CHOSEN_BY_DATA, RANDOM_PATTERNS
from hpc_sparse.config.messages import first_problems
from hpc_sparse.config.section import NonNegative, PositiveCount
from hpc_sparse.errors import ParameterError

SMALLEST_BATCH, LARGEST_BATCH = 8, 128
STEPS_PER_EPOCH = 20
"""Steps per epoch of ``batch_size="auto"``, within the limits of a batch."""

STEPS_PER_EVOLUTION = 100
"""Least number of steps between changes of the topology with ``evolve_every_epochs="auto"``.

In fewer steps, grown connections cannot become strong enough to stay, and short epochs destroy more than they learn.
"""

SECTIONS = {
    "network": (
        *("hidden", "epsilon", "density", "connections", "pattern", "block"),
        *("initial_topology", "ungrouped_features"),
        *("activation", "alpha", "initializer", "dropout"),
    ),
    "training": ("batch_size",),
    "optimizer": (
        *("learning_rate", "momentum", "nesterov", "weight_decay", "schedule", "warmup_epochs"),
        "clip_norm",
    ),
    "evolution": ("drop_fraction",),
    "data": ("standardize",),
}
"""Parameters that have the name of their key."""

RENAMED = {("evolution", "strategy"): "evolution", ("evolution", "every_epochs"): "evolve_every_epochs"}
"""Parameters that need another name where there are no sections."""

NAMES = RENAMED | {("training", "seed"): "random_state"}
"""Names in messages of keys whose parameter has another name."""


LAYER_KEY = 3
"""Place of the key in the location of a problem with a layer, after ``network.layers.0``."""

LAYER_KEYS = {"n": "hidden"}
"""Parameters that need another name than the key of a layer."""


class FitParameters(Section):
    """Parameters of an estimator that a run's configuration does not have."""

    epochs: PositiveCount
    early_stopping: bool
    validation_fraction: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    n_iter_no_change: PositiveCount
    tol: NonNegative
    warm_start: bool


class Parameters(NamedTuple):
    """The checked parameters of one fit."""

    config: RunConfig
    fit: FitParameters


def check_parameters(
    name: str,
    values: Mapping[str, Any],
    *,
    n_samples: int,
    n_epochs: int,
    seed: int,
    layers: Sequence[Mapping[str, Any]] | None = None,
) -> Parameters:
    """Check an estimator's parameters.

    Parameters
    ----------
    name : str
        Name of the estimator, for messages.
    values : mapping
        Parameters from its ``get_params``.
    n_samples : int
        Training samples; an automatic batch size follows from it.
    n_epochs : int
        Epochs trained before.
    seed : int
        Seed of every random stream.
    layers : sequence of dict, optional
        Tables of the hidden layers, instead of their neurons alone.

    Raises
    ------
    ParameterError
        One line for every wrong parameter.
    """
    plain = {key: as_plain(value) for key, value in values.items()}
    if plain["batch_size"] == "auto":
        plain["batch_size"] = automatic_batch(n_samples)
    if plain["evolve_every_epochs"] == "auto":
        plain["evolve_every_epochs"] = automatic_interval(n_samples, plain["batch_size"])
    tree: dict[str, dict[str, Any]] = {
        section: {key: plain[key] for key in keys if key in plain} for section, keys in SECTIONS.items()
    }
    for (section, key), parameter in RENAMED.items():
        tree[section][key] = plain[parameter]
    tree["data"]["path"] = ""
    # More calls may follow (warm_start, partial_fit): nothing may depend on how many epochs there are.
    tree["evolution"]["drop_schedule"] = "constant"
    if layers is not None:
        del tree["network"]["hidden"]
        tree["network"]["layers"] = [{key: as_plain(value) for key, value in layer.items()} for layer in layers]
    try:
        fit = FitParameters(**{key: plain[key] for key in FitParameters.model_fields})
        tree["training"] |= {"epochs": n_epochs + fit.epochs, "seed": seed}
        config = RunConfig.model_validate(tree)
    except ValidationError as error:
        lines = dict.fromkeys(_described(name, problem) for problem in first_problems(error.errors()))
        raise ParameterError("\n".join(lines)) from None
    if (chosen := config.network.initial_topology) in CHOSEN_BY_DATA:
        drawn = ", ".join(RANDOM_PATTERNS)
        raise ParameterError(f"{name}: initial_topology = {chosen!r}: of runs alone: expected {drawn} or file:PATH")
    return Parameters(config, fit)


def automatic_batch(n_samples: int) -> int:
    """A twentieth of the samples, between 8 and 128: few samples need small batches, or there are too few steps."""
    return int(np.clip(n_samples // STEPS_PER_EPOCH, SMALLEST_BATCH, LARGEST_BATCH))


def automatic_interval(n_samples: int, batch_size: Any) -> int:
    """Epochs from one change of the topology to the next that make at least 100 steps."""
    if not isinstance(batch_size, int) or batch_size < 1:
        return 1  # the batch size is what is wrong
    return -(-STEPS_PER_EVOLUTION // -(-n_samples // batch_size))


def as_plain(value: Any) -> Any:
    """NumPy's numbers, as a parameter grid may hold them, as Python's; and every sequence as a list."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return [as_plain(item) for item in value]
    return value


def without_layer(message: str) -> str:
    """A message about a key of ``[network]`` without the section and the number of the layer before the key."""
    return re.sub(r"^(network\.)?(layers\.\d+[.:] ?)?", "", message)


def _described(name: str, problem: Any) -> str:
    location = problem["loc"]
    message = problem["msg"].removeprefix("Value error, ")
    message = without_layer(message)
    message = message.replace("Input should be", "must be").replace("a valid tuple", "a list, such as [1000, 1000]")
    is_of_layer = location[1:2] == ("layers",) and len(location) == LAYER_KEY
    if not location or is_of_layer or (len(location) == 1 and location[0] in SECTIONS):
        return f"{name}: {message}"
    key = NAMES.get(location[:2], location[0] if len(location) == 1 else location[1])
    if location[1:2] == ("layers",) and len(location) > LAYER_KEY:
        key = LAYER_KEYS.get(location[LAYER_KEY], location[LAYER_KEY])
    return f"{name}: {key} = {problem['input']!r}: {message}"
