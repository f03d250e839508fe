"""The kinds of front ends there are, in the order in which samples pass them."""

from __future__ import annotations

from hpc_sparse.config import DataSection
from hpc_sparse.config.added_keys import add_key, remove_key
from hpc_sparse.inputs.augmentation import Augmentation
from hpc_sparse.inputs.missing_values import FilledIn
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.inputs.standardise import Standardise
from hpc_sparse.inputs.term_weights import TermWeights
from hpc_sparse.inputs.vocabulary import Vocabulary

FRONT_ENDS: list[type[FrontEnd]] = [
    Augmentation,
    TermWeights,
    FilledIn,
    Standardise,
    Vocabulary,
]
"""Each makes the values that the next one takes; the chosen features of a pruned network come last."""


def register(kind: type[FrontEnd]) -> None:
    """Add a kind behind the others, with its key of ``[data]``.

    Raises
    ------
    ValueError
        There is one of this name.
    """
    if any(each.name == kind.name for each in FRONT_ENDS):
        raise ValueError(f"there is a front end {kind.name} already")
    if kind.section is not None:
        add_key(DataSection, kind.name, kind.section)
    FRONT_ENDS.append(kind)


def unregister(kind: type[FrontEnd]) -> None:
    """Undo :func:`register`."""
    FRONT_ENDS.remove(kind)
    if kind.section is not None:
        remove_key(DataSection, kind.name)


def fixed_keys() -> tuple[str, ...]:
    """Keys of ``[data]`` that must not change when a run is continued."""
    return tuple(kind.name for kind in FRONT_ENDS if kind.name in DataSection.model_fields)
