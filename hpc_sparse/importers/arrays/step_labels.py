"""Labels of each step of sequences, of which some may have none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpc_sparse.dtypes import INDEX, AnyArray, BoolArray, Int32Array
from hpc_sparse.importers.labels import encode_labels
from hpc_sparse.storage.dataset.samples import NO_LABEL


def are_of_steps(labels: AnyArray, n_steps: int) -> bool:
    """Whether labels are those of steps, [n_samples, n_steps]."""
    return n_steps > 1 and labels.ndim == 2 and labels.shape[1] == n_steps


def encode_step_labels(
    where: str,
    parts: Sequence[AnyArray],
    lengths: Sequence[Int32Array | None],
    class_names: Sequence[str] | None = None,
) -> tuple[list[Int32Array], tuple[str, ...]]:
    """Number the classes of steps from 0, as :func:`~hpc_sparse.importers.labels.encode_labels` does those of samples.

    Parameters
    ----------
    where : str
        File, to begin messages with.
    parts : sequence of arrays [n_samples, n_steps]
        Labels of each part; a number of -1 or an empty text is none, and so is what lies beyond a length.
    lengths : sequence of int32[n_samples] or None
        Steps of each part's sequences.
    class_names : sequence of str, optional

    Returns
    -------
    labels : list of int32[n_samples, n_steps]
        -1 for none.
    class_names : tuple of str
    """
    counts = [_counted(labels, own) for labels, own in zip(parts, lengths, strict=True)]
    chosen = [labels[counted] for labels, counted in zip(parts, counts, strict=True)]
    encoded, names = encode_labels(where, chosen, class_names)
    found = [np.full(labels.shape, NO_LABEL, INDEX) for labels in parts]
    for labels, counted, own in zip(found, counts, encoded, strict=True):
        labels[counted] = own
    return found, names


def _counted(labels: AnyArray, lengths: Int32Array | None) -> BoolArray:
    """Which steps have a label."""
    counted: BoolArray = np.char.str_len(labels) > 0 if labels.dtype.kind in "US" else labels != NO_LABEL
    if lengths is not None:
        counted &= np.arange(labels.shape[1]) < lengths[:, None]
    return counted
