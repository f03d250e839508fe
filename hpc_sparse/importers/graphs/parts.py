"""Division of the nodes of a graph into those for training and those for testing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import AnyArray, Int32Array, Int64Array
from hpc_sparse.errors import DataError, ParameterError, quoted
from hpc_sparse.importers.graphs.options import GraphOptions
from hpc_sparse.importers.graphs.source import GraphSource
from hpc_sparse.importers.split import stratified_split

PARTS = ("train", "validation", "test")
OTHER_NAMES = {"val": "validation", "valid": "validation", "none": "", "-": ""}
LONGEST_WORD = 20

VALIDATION_SEED = 1 << 40
"""Added to the seed of a random split for its validation part."""


def divided(source: GraphSource, labels: Int32Array, options: GraphOptions) -> tuple[Int64Array, Int64Array, str]:
    """Nodes for training and nodes for testing, increasing, and the division in words.

    Raises
    ------
    DataError
        A part is missing or overlaps another one, or has a node without a label.
    """
    parts, split = _parts(source, labels, options)
    tested = "validation" if options.tests_on_validation else "test"
    for name in ("train", tested):
        if not parts[name].size:
            raise DataError(f"{source.where}: has no {name} nodes ({split})")
    taken = np.zeros(labels.size, np.int8)
    for name in PARTS:
        if (labels[parts[name]] < 0).any():
            node = parts[name][labels[parts[name]] < 0][0]
            raise DataError(f"{source.where}: node {node} of the {name} part has no label")
        if taken[parts[name]].any():
            node = parts[name][taken[parts[name]] > 0][0]
            raise DataError(f"{source.where}: node {node} is in the {name} part and in another: expected each in one")
        taken[parts[name]] = 1
    return parts["train"], parts[tested], split + (" (validation nodes)" if options.tests_on_validation else "")


def _parts(source: GraphSource, labels: Int32Array, options: GraphOptions) -> tuple[dict[str, Int64Array], str]:
    published = {} if options.split in ("random", "given") else source.parts()
    split = options.split or ("published" if {"train", "test"} <= set(published) else "random")
    if split == "given":
        assert options.split_file is not None
        return _given(options.split_file, labels.size), f"as given in {options.split_file.name}"
    if split == "published":
        if not {"train", "test"} <= set(published):
            raise DataError(f"{source.where}: has no published parts: expected train and test, or another --split")
        return {name: _checked(source.where, name, published.get(name), labels.size) for name in PARTS}, "as published"
    return _random(labels, options)


def _random(labels: Int32Array, options: GraphOptions) -> tuple[dict[str, Int64Array], str]:
    test, validation, seed = options.test_fraction, options.validation_fraction, options.split_seed
    if test + validation >= 1:
        raise ParameterError(f"test fraction {test:g} and validation fraction {validation:g}: must be below 1 together")
    known = np.flatnonzero(labels >= 0)
    rest, test_rows = stratified_split(labels[known], test, seed)
    rows = {"train": known[rest], "validation": known[:0], "test": known[test_rows]}
    if validation > 0:
        train_rows, validation_rows = stratified_split(
            labels[known[rest]], validation / (1 - test), seed + VALIDATION_SEED
        )
        rows |= {"train": known[rest[train_rows]], "validation": known[rest[validation_rows]]}
    return rows, f"random within each class, test {test:.3g}, validation {validation:.3g}, seed {seed}"


def _given(path: Path, n_nodes: int) -> dict[str, Int64Array]:
    try:
        words = [line.strip().lower() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    words += [""] * (n_nodes - len(words))  # lines at the end of which editors think nothing
    if len(words) != n_nodes:
        raise DataError(f"{path}: {len(words)} lines: expected {n_nodes}, one per node")
    words = [OTHER_NAMES.get(word, word) for word in words]
    for number, word in enumerate(words, start=1):
        if word and word not in PARTS:
            raise DataError(
                f'{path}: line {number}: "{quoted(word, LONGEST_WORD)}": expected train, validation, test or nothing'
            )
    table = np.array(words)
    return {name: np.flatnonzero(table == name) for name in PARTS}


def _checked(where: str, name: str, nodes: AnyArray | None, n_nodes: int) -> Int64Array:
    found = np.sort(np.empty(0, np.int64) if nodes is None else nodes.astype(np.int64))
    if found.size and (found[0] < 0 or found[-1] >= n_nodes):
        wrong = found[0] if found[0] < 0 else found[-1]
        raise DataError(f"{where}: {name}: node {wrong}: must be >= 0 and < {n_nodes}, the number of nodes")
    if (found[1:] == found[:-1]).any():
        raise DataError(f"{where}: {name}: node {found[1:][found[1:] == found[:-1]][0]} is there twice")
    return found
