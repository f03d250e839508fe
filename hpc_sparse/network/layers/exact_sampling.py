"""Sampling of images in float64, by NumPy: what the kernels are checked against."""

from __future__ import annotations

import numpy as np

from hpc_sparse.dtypes import Float64Array
from hpc_sparse.network.layers.samplers import Sampler

FILTER = ((-1, 1), (0, 2), (1, 1))
"""Shifts and weights of the filter that smooths rows and columns; their sum is 4."""


def exact_samples(sampler: Sampler, sums: Float64Array, bend: Float64Array | None) -> tuple[Float64Array, Float64Array]:
    """What goes on of weighted sums.

    Parameters
    ----------
    sampler : Sampler
    sums : float64[n_sums, n, n_samples]
        At the places with sums.
    bend : float64[2 * n_sums, n, n_samples] or None
        From an earlier call: slopes of the activation, then 1 at the places that are taken; the sums do not decide.

    Returns
    -------
    out : float64[n_places_out, n, n_samples]
    bend : float64[2 * n_sums, n, n_samples]
    """
    slopes = np.where(sums < 0, sampler.slope, 1.0) if bend is None else bend[: len(sums)]
    values = (sums * slopes).reshape(*sampler.sides_summed, *sums.shape[1:])
    if sampler.is_smooth:
        for axis in (0, 1):
            values = np.sum([weight * np.roll(values, shift, axis) for shift, weight in FILTER], axis=0) / 4
    taken = _taken(sampler, values) if bend is None else bend[len(sums) :].reshape(values.shape)
    grid, step = values * taken, sampler.step
    rows, columns = sampler.sides_taken
    grid = grid.reshape(rows, step, columns, step, *sums.shape[1:]).sum(axis=(1, 3))
    out = grid.reshape(rows * columns, *sums.shape[1:])
    bend = np.concatenate([slopes, taken.reshape(sums.shape)])
    return (out.mean(axis=0, keepdims=True) if sampler.is_pooled else out), bend


def _taken(sampler: Sampler, values: Float64Array) -> Float64Array:
    """float64[rows, columns, n, n_samples]: 1 at the places that are taken, 0 elsewhere."""
    taken, step = np.zeros(values.shape), sampler.step
    if not sampler.chooses:
        taken[::step, ::step] = 1.0
        return taken
    phases = [(y, x) for y in range(step) for x in range(step)]
    sizes = [np.abs(values[y::step, x::step]).reshape(-1, values.shape[-1]) for y, x in phases]
    order = {"l1": 1, "l2": 2, "linf": np.inf}[sampler.norm]
    chosen = np.argmax([np.linalg.norm(size, order, axis=0) for size in sizes], axis=0)
    for number, (y, x) in enumerate(phases):
        taken[y::step, x::step] = chosen == number
    return taken
