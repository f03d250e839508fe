"""Members of groups from a file, such as the genes of pathways: connections from features to neurons, one per group.

A table has a line for each pair; an .npz archive has a matrix that SciPy wrote, with or without names.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hpc_sparse.dtypes import OFFSET, AnyArray, Int64Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.importers.encodings import as_utf8
from hpc_sparse.network.connections.topology import Topology

COLUMNS = ("feature", "group")
SEPARATORS = "\t;,"
"""The first of them that the header has separates the columns."""

NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
SHOWN = 3
"""Names that a message lists."""


@dataclass(frozen=True)
class Membership:
    """Which features belong to which groups.

    Attributes
    ----------
    topology : Topology
        Shape (n_groups, n_features).
    groups : tuple of str
        Their names, or their numbers.
    digest : str
        SHA-256 of the file, in hexadecimal digits.
    """

    topology: Topology
    groups: tuple[str, ...]
    digest: str


class _Pairs(NamedTuple):
    """Pairs of a file: names or numbers as texts, the shape where the file tells it, and where each pair is."""

    features: Sequence[str]
    groups: Sequence[str]
    group_names: Sequence[str] | None
    n_features: int | None
    where: Callable[[int], str]


def read_membership(
    path: Path,
    n_features: int,
    names: Sequence[str] | None = None,
    *,
    allow_missing: bool = False,
    remedy: str = "allow_missing",
    owner: str = "the data",
) -> Membership:
    """The pairs of a table, or the entries of a matrix.

    Parameters
    ----------
    path : Path
        An .npz archive of ``scipy.sparse.save_npz`` with a matrix (groups, features), to which arrays ``features`` and
        ``groups`` of names may have been added; else a table in UTF-8 (or with a byte-order mark) with the columns
        ``feature`` and ``group``, separated by tabs, semicolons or commas.
    n_features : int
        Features of the data.
    names : sequence of str, optional
        Their names. Without, files have numbers from 0 on. Groups have names, in the order of their first appearance,
        or numbers from 0 on.
    allow_missing : bool
        Whether features may belong to no group.
    remedy : str
        What a message calls that.
    owner : str
        What it calls whatever has the features.

    Raises
    ------
    DataError
        The file is not such a one, a pair is there twice or out of range, a name is none of the data's, or a feature
        belongs to no group.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    pairs = _read_archive(path) if path.suffix == ".npz" else _read_table(path)
    if not pairs.features:
        raise DataError(f"{path}: no pairs: expected at least one feature of a group")
    columns = _feature_numbers(path, pairs, n_features, names, owner)
    group_names, rows = _group_numbers(path, pairs)
    keys = rows * n_features + columns
    order = np.argsort(keys, kind="stable")
    if (again := np.flatnonzero(np.diff(keys[order]) == 0)).size:
        first, second = order[again[0]], order[again[0] + 1]
        pair = f'feature "{quoted(pairs.features[first])}" in group "{quoted(pairs.groups[first])}"'
        raise DataError(f"{path}: {pairs.where(second)}: {pair} is there twice; first at {pairs.where(first)}")
    topology = Topology.from_keys((len(group_names), n_features), keys[order])
    if not allow_missing:
        _check_all(path, topology, names, f"leave it out of {owner}, or {remedy}")
    return Membership(topology, tuple(group_names), hashlib.sha256(path.read_bytes()).hexdigest())


def _read_table(path: Path) -> _Pairs:
    with path.open("rb") as file, as_utf8(path, file, None) as stream:
        try:
            text = stream.read().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: byte {error.start}: not UTF-8: expected a table of text") from None
    header = text.partition("\n")[0]
    separator = next((each for each in SEPARATORS if each in header), ",")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table: {quoted(str(error))}") from None
    lines = [(number, [cell.strip() for cell in row]) for number, row in lines if any(cell.strip() for cell in row)]
    found = [cell.lower() for cell in lines[0][1]] if lines else []
    if sorted(found) != sorted(COLUMNS):
        shown = f'"{quoted(header.strip())}"' if header.strip() else "nothing"
        raise DataError(f"{path}: line 1: {shown}: expected the columns feature and group")
    for number, row in lines[1:]:
        if len(row) != len(COLUMNS) or not all(row):
            n_values = sum(map(bool, row))
            raise DataError(f"{path}: line {number}: {n_values} values: expected a feature and a group")
    numbers = [number for number, _ in lines[1:]]
    features, groups = ([row[found.index(name)] for _, row in lines[1:]] for name in COLUMNS)
    return _Pairs(features, groups, None, None, lambda position: f"line {numbers[position]}")


def _read_archive(path: Path) -> _Pairs:
    archive = Archive(path)
    kind = archive.array("format")
    name = kind.item() if kind.ndim == 0 else None
    shown = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)
    n_groups, n_features = archive.shape("shape", 2)
    if shown == "coo":
        rows, columns = (_whole(archive, each) for each in ("row", "col"))
    elif shown in {"csr", "csc"}:
        indptr, indices = (_whole(archive, each) for each in ("indptr", "indices"))
        n_lines = n_groups if shown == "csr" else n_features
        if indptr.size != n_lines + 1 or indptr[0] != 0 or indptr[-1] != indices.size or (np.diff(indptr) < 0).any():
            raise DataError(f"{path}: indptr: expected {n_lines + 1} numbers that rise from 0 to {indices.size}")
        lines = np.repeat(np.arange(n_lines, dtype=OFFSET), np.diff(indptr))
        rows, columns = (lines, indices) if shown == "csr" else (indices, lines)
    else:
        raise DataError(f'{path}: format "{quoted(shown)}": expected a matrix in csr, csc or coo')
    if rows.size != columns.size:
        raise DataError(f"{path}: {rows.size} rows and {columns.size} columns: expected as many of both")
    for what, numbers, n in (("group", rows, n_groups), ("feature", columns, n_features)):
        if (outside := np.flatnonzero((numbers < 0) | (numbers >= n))).size:
            entry = int(outside[0])
            raise DataError(f"{path}: entry {entry}: {what} {int(numbers[entry])}: must be >= 0 and < {n}, the shape")
    if n_groups > rows.size:
        raise DataError(f"{path}: {rows.size} entries for {n_groups} groups: expected a feature of each group")
    names = {each: _names(archive, f"{each}s", n) for each, n in (("feature", n_features), ("group", n_groups))}
    features, groups = names["feature"], names["group"]
    return _Pairs(
        [str(number) if features is None else features[number] for number in columns.tolist()],
        [str(number) if groups is None else groups[number] for number in rows.tolist()],
        groups if groups is not None else [str(number) for number in range(n_groups)],
        n_features if features is None else None,
        lambda position: f"entry {position}",
    )


def _whole(archive: Archive, name: str) -> Int64Array:
    values = archive.array(name)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise DataError(f"{archive.where(name)}: {values.dtype}{list(values.shape)}: expected whole numbers in one row")
    return values.astype(OFFSET)


def _names(archive: Archive, name: str, n: int) -> list[str] | None:
    if name not in archive:
        return None
    values: AnyArray = archive.array(name)
    if values.shape != (n,) or values.dtype.kind != "U":
        raise DataError(f"{archive.where(name)}: {values.dtype}{list(values.shape)}: expected {n} texts")
    found: list[str] = values.tolist()
    if len(set(found)) < n:
        twice = next(each for number, each in enumerate(found) if each in found[:number])
        raise DataError(f'{archive.where(name)}: "{quoted(twice)}" is there twice')
    return found


def _feature_numbers(path: Path, pairs: _Pairs, n_features: int, names: Sequence[str] | None, owner: str) -> Int64Array:
    """Number of each pair's feature, int64[n]."""
    if pairs.n_features not in {None, n_features}:
        raise DataError(f"{path}: a matrix of {pairs.n_features} features: expected {n_features}, those of {owner}")
    if names is not None and pairs.n_features is None:
        numbers = {name: number for number, name in enumerate(names)}
        _check_distinct(path, pairs, names, owner)
        unknown = [position for position, name in enumerate(pairs.features) if name not in numbers]
        if unknown:
            different = list(dict.fromkeys(pairs.features[position] for position in unknown))
            raise DataError(
                f"{path}: {pairs.where(unknown[0])}: {_listed(different, 'feature')} not among the {n_features} of "
                f'{owner}, such as "{quoted(names[0])}"'
            )
        return np.array([numbers[name] for name in pairs.features], OFFSET)
    for position, text in enumerate(pairs.features):
        if not NUMBER.fullmatch(text) or int(text) >= n_features:
            raise DataError(
                f'{path}: {pairs.where(position)}: feature "{quoted(text)}": expected a number from 0 to '
                f"{n_features - 1}{'' if names is not None else f', as features of {owner} have no names'}"
            )
    return np.array([int(text) for text in pairs.features], OFFSET)


def _check_distinct(path: Path, pairs: _Pairs, names: Sequence[str], owner: str) -> None:
    """Refuse a pair whose feature has the name of another one, too."""
    if len(set(names)) == len(names):
        return
    counts = Counter(names)
    for position, name in enumerate(pairs.features):
        if counts[name] > 1:
            said = f"{counts[name]} features of {owner} have this name: expected one"
            raise DataError(f'{path}: {pairs.where(position)}: feature "{quoted(name)}": {said}')


def _group_numbers(path: Path, pairs: _Pairs) -> tuple[Sequence[str], Int64Array]:
    """Names of the groups, and the number of each pair's group, int64[n]."""
    names = pairs.group_names
    if names is None and all(NUMBER.fullmatch(text) for text in pairs.groups):
        numbers = np.array([int(text) for text in pairs.groups], OFFSET)
        found = np.unique(numbers)
        if found[-1] != found.size - 1:
            lost = int(np.flatnonzero(found != np.arange(found.size))[0])
            raise DataError(f"{path}: groups are numbers up to {found[-1]}, but group {lost} has no feature")
        return [str(number) for number in range(found.size)], numbers
    names = list(dict.fromkeys(pairs.groups)) if names is None else names
    order = {name: number for number, name in enumerate(names)}
    rows = np.array([order[name] for name in pairs.groups], OFFSET)
    if (empty := np.flatnonzero(np.bincount(rows, minlength=len(names)) == 0)).size:
        raise DataError(f"{path}: {_listed([names[number] for number in empty.tolist()], 'group')} without any feature")
    return names, rows


def _check_all(path: Path, topology: Topology, names: Sequence[str] | None, otherwise: str) -> None:
    left = np.flatnonzero(topology.fan_out() == 0).tolist()
    if left:
        shown = [str(number) if names is None else names[number] for number in left]
        raise DataError(f"{path}: {_listed(shown, 'feature')} in no group: give each one, {otherwise}")


def _listed(names: Sequence[str], what: str) -> str:
    """Some names for a message, and how many there are."""
    shown = ", ".join(f'"{quoted(name, 40)}"' for name in names[:SHOWN])
    if len(names) == 1:
        return f"{what} {shown} is"
    more = "" if len(names) <= SHOWN else ", ..."
    return f"{len(names)} {what}s ({shown}{more}) are"
