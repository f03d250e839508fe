"""What a fit may change of an estimator: all of it at the end, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hpc_sparse.errors import ParameterError
from hpc_sparse.estimators.parameters import Parameters, as_plain

ARCHITECTURE = ("connections", "pattern", "block", "activation", "alpha", "cell", "standardize", "initial_topology")
"""Parameters that a network keeps, beside its widths and densities."""


@contextmanager
def unchanged_on_failure(estimator: Any) -> Iterator[None]:
    """Put all attributes of an estimator back if the block fails or is interrupted.

    The block must replace attributes, and change none in place.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def fixed_settings(values: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:
    """The parameters among ``values`` that another fit of the same network cannot change."""
    network = parameters.config.network
    sizes = {"hidden": list(network.hidden), "epsilon": network.epsilon, "density": network.density}
    return sizes | {name: as_plain(values[name]) for name in ARCHITECTURE if name in values}


def check_settings(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a network that was made with other parameters.

    Raises
    ------
    ParameterError
        One line for every parameter that is another.
    """
    lines = [
        f"{name}: {key} = {now[key]!r}: the network that this fit goes on with was made with {before[key]!r}; "
        "for a new one call fit with warm_start=False"
        for key in now
        if key in before and now[key] != before[key]
    ]
    if lines:
        raise ParameterError("\n".join(lines))
