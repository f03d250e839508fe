"""The columns of tables: which of them are numbers, which are symbols (one feature per symbol), which is the label."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpc_sparse.errors import DataError, quoted

LABEL_NAMES = ("label", "labels", "class", "target", "y")

UNNAMED = "Unnamed: 0"
"""What Pandas calls a first column without a name, which is the index that it has written itself."""

INDEX_NAME = re.compile(r"Unnamed: 0|__index_level_\d+__")
"""Indexes in text and in Parquet."""

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableOptions:
    """Choices about a table's columns, each given by its name or its number (1 the first, -1 the last).

    Attributes
    ----------
    label : str or None
        The column of labels; by default the only one with a usual name, else the last.
    symbolic : tuple of str
        Columns of numbers that are symbols.
    dropped : tuple of str
        Columns to leave out.
    is_sparse : bool
        Store the features by compressed sparse rows: for many symbols.
    """

    label: str | None = None
    symbolic: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    is_sparse: bool = False


@dataclass(frozen=True)
class Columns:
    """The columns in use, by name, in the order of the table.

    Attributes
    ----------
    label : str
    features : tuple of str
    symbolic : frozenset of str
        Those of the features that are symbols.
    mixed : frozenset of str
        Those of them whose symbols may be numbers and text, because the user said that they are symbols.
    indexes : tuple of str
        Those that are left out because Pandas wrote its index in them.
    """

    label: str
    features: tuple[str, ...]
    symbolic: frozenset[str]
    mixed: frozenset[str] = frozenset()
    indexes: tuple[str, ...] = ()


def choose_columns(where: str, names: Sequence[str], is_text: Sequence[bool], options: TableOptions) -> Columns:
    """Columns of the label, of the features, and of symbols.

    Parameters
    ----------
    where : str
        File, to begin messages with.
    names : sequence of str
    is_text : sequence of bool
        Whether a column holds text.
    options : TableOptions

    Raises
    ------
    DataError
        There is no such column, or no feature is left.
    """
    given = {find_column(where, names, wanted) for wanted in options.symbolic}
    dropped = {find_column(where, names, wanted) for wanted in options.dropped}
    indexes = tuple(name for name in names if INDEX_NAME.fullmatch(name) and name not in given | dropped)
    left = [name for name in names if name not in dropped]
    wanted_label = None if options.label is None else find_column(where, names, options.label)
    label = _label(where, [name for name in left if name not in indexes or name == wanted_label], names, options.label)
    indexes = tuple(name for name in indexes if name != label)
    features = tuple(name for name in left if name != label and name not in indexes)
    if not features:
        raise DataError(
            f"{where}: columns {_listed(names)}: expected at least one beside the label (is the delimiter right?)"
        )
    for name in indexes:
        LOG.warning('%s: column "%s" is an index and left out; --symbolic keeps it', where, name)
    symbolic = given | {name for name, text in zip(names, is_text, strict=True) if text}
    return Columns(label, features, frozenset(symbolic & set(features)), frozenset(given), indexes)


def find_column(where: str, names: Sequence[str], wanted: str) -> str:
    """The column with a name or number."""
    if wanted in names:
        return wanted
    if wanted.removeprefix("-").isdecimal() and 1 <= abs(int(wanted)) <= len(names):
        number = int(wanted)
        return names[number - 1 if number > 0 else number]
    near = difflib.get_close_matches(wanted, names, 1)
    hint = f' (did you mean "{near[0]}"?)' if near else ""
    raise DataError(
        f'{where}: no column "{quoted(wanted)}"{hint}: expected a number up to {len(names)} or one of {_listed(names)}'
    )


def _label(where: str, left: Sequence[str], names: Sequence[str], wanted: str | None) -> str:
    if wanted is not None:
        label = find_column(where, names, wanted)
        if label not in left:
            raise DataError(f'{where}: column "{label}" is the label and left out: expected one of both')
        return label
    if not left:
        raise DataError(f"{where}: all columns are left out")
    usual = [name for name in left if name.strip().lower() in LABEL_NAMES]
    return usual[0] if len(usual) == 1 else left[-1]


def _listed(names: Sequence[str]) -> str:
    shown = [quoted(name, 40) for name in names[:20]] + (["..."] if len(names) > 20 else [])
    return ", ".join(shown)
