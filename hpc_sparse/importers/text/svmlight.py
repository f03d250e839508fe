"""Files of svmlight and libsvm: a line per sample, ``label feature:value feature:value ...``, read by scikit-learn."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from hpc_sparse.dtypes import INDEX, MAX_NEURONS, OFFSET, VALUE, Int32Array
from hpc_sparse.errors import DataError, MachineError, quoted
from hpc_sparse.importers.features import without_zeros
from hpc_sparse.importers.labels import LabelCollector
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.source import CHUNK_BYTES, Chunk, FeatureSpace
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.importers.text_files import file_size, opened_text, reason
from hpc_sparse.storage.dataset.samples import CsrFeatures, DatasetInfo

Load = Callable[..., Any]

WIDE = 2**20
"""Features, up to which all numbers below the highest are features."""

FEW = 8
"""Of more, all numbers are features if at least one of so many occurs; else those that occur are."""

HEADER = re.compile(r"\d+ \d+ \d+")
"""First line of the files of the Extreme Classification Repository: samples, features, labels."""

ONE_CLASS = (
    "here a sample has one class: keep one label per line, or import one data set per label with classes 1 and 0"
)

LOG = logging.getLogger(__name__)


def import_svmlight(
    source: Path | str,
    target: Path | str,
    *,
    test: Path | str | None = None,
    zero_based: bool | None = None,
    n_features: int | None = None,
    options: ImportOptions | None = None,
) -> DatasetInfo:
    """Import a file, plain or compressed (.gz, .bz2, .xz), piece by piece; features stay sparse.

    Parameters
    ----------
    source, target : path
    test : path, optional
        A file for testing; by default some of the samples are taken.
    zero_based : bool, optional
        Whether features are numbered from 0; by default from 1 if none has the number 0.
    n_features : int, optional
        By default as many as the highest number says; of a wide range of which few occur, those that occur, with their
        numbers as names.
    options : ImportOptions, optional

    Raises
    ------
    DataError
        A file cannot be read; the message names the line.
    MachineError
        scikit-learn is not installed.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    paths = [Path(source)] if test is None else [Path(source), Path(test)]
    samples = SvmlightSource(paths, zero_based, n_features)
    return import_streamed(samples, target, paths[0].name.partition(".")[0], options or ImportOptions())


class SvmlightSource:
    """One or two files."""

    def __init__(self, paths: Sequence[Path], zero_based: bool | None, n_features: int | None) -> None:
        self.where, self.n_parts, self._paths = str(paths[0]), len(paths), paths
        self.labels = LabelCollector(self.where)
        self._load = _loader()
        self._zero_based, self._n_features = zero_based, n_features
        self._lowest, self._highest = MAX_NEURONS, -1
        self._ids = np.empty(0, INDEX)
        self._is_compact = False

    def chunks(self, part: int) -> Iterator[Chunk]:
        """All samples of a file, in order."""
        path, n_lines, n_samples = self._paths[part], 0, 0
        with opened_text(path) as (text, file):
            while lines := text.readlines(CHUNK_BYTES):
                matrix, labels = self._loaded(path, lines, n_lines)
                features = without_zeros(
                    CsrFeatures(
                        matrix.indptr.astype(OFFSET), matrix.indices.astype(INDEX), matrix.data, matrix.shape[1]
                    )
                )
                self._note(features.indices)
                yield Chunk(features, self.labels.add(labels, n_samples), file.tell())
                n_lines, n_samples = n_lines + len(lines), n_samples + labels.size

    def size(self, part: int) -> int:
        """Bytes of a file."""
        return file_size(self._paths[part])

    def feature_space(self) -> FeatureSpace:
        """The features, numbered from 0."""
        first = 1 if self._zero_based is False or (self._zero_based is None and self._lowest >= 1) else 0
        if self._lowest < first:
            raise DataError(f"{self.where}: has a feature with the number 0: expected numbers from 1")
        found = max(0, self._highest + 1 - first)
        if self._n_features is not None and found > self._n_features:
            raise DataError(f"{self.where}: has a feature with the number {self._highest}: expected {self._n_features}")
        if self._n_features is None and found > WIDE and self._ids.size * FEW < found:
            self._is_compact = True
            LOG.warning(
                "%s: features are the %d numbers that occur, up to %d; --features keeps all numbers",
                self.where,
                self._ids.size,
                self._highest,
            )
            names = [str(number) for number in self._ids.tolist()]
            return FeatureSpace(self._ids.size, is_sparse=True, names=names, ids=self._ids)
        return FeatureSpace(found if self._n_features is None else self._n_features, is_sparse=True, first=first)

    def description(self) -> str:
        """The files' names, and whether features are only the numbers that occur."""
        files = ", ".join(path.name for path in self._paths)
        return f"{files}; {self._ids.size} ids up to {self._highest}, compacted" if self._is_compact else files

    def _note(self, indices: Int32Array) -> None:
        """Keep which numbers there are."""
        if indices.size:
            self._lowest = min(self._lowest, int(indices.min()))
            self._highest = max(self._highest, int(indices.max()))
            if self._n_features is None:
                self._ids = np.union1d(self._ids, indices)

    def _loaded(self, path: Path, lines: Sequence[bytes], n_before: int) -> tuple[Any, Any]:
        found = _try(self._load, b"".join(lines))
        if isinstance(found, str):
            for number, line in enumerate(lines, start=n_before + 1):
                problem = _try(self._load, line)
                if isinstance(problem, str):
                    shown = quoted(line.decode(errors="replace").strip(), 40)
                    hint = _of_many_labels(line.decode(errors="replace"), number)
                    raise DataError(f'{path}: line {number}: "{shown}": {hint or problem}')
            raise DataError(f"{path}: lines {n_before + 1} to {n_before + len(lines)}: {found}")
        return found


def _try(load: Load, text: bytes) -> tuple[Any, Any] | str:
    """Matrix and labels of some lines, or what is wrong with them."""
    try:
        matrix, labels = load(io.BytesIO(text), dtype=VALUE, zero_based=True)
    except (ValueError, OverflowError) as error:
        return f"expected a label and number:value ... in the order of the numbers ({reason(error)})"
    if matrix.shape[1] > MAX_NEURONS:
        return f"feature number {matrix.shape[1] - 1}: must be < {MAX_NEURONS}"
    if not np.isfinite(matrix.data).all():
        return "expected values that are finite as float32"
    if not (np.isfinite(labels) & (labels == np.round(labels))).all():
        return "expected a whole number as label"
    return matrix, labels


def _of_many_labels(line: str, number: int) -> str | None:
    """What to do about a line of a file with several labels per sample; None of others."""
    first = line.split(maxsplit=1)[0]
    if number == 1 and HEADER.fullmatch(line.strip()):
        return f"is the header of a file with several labels per sample (samples, features, labels); {ONE_CLASS}"
    if "," in first and ":" not in first:
        return f"several labels; {ONE_CLASS}"
    if ":" in first:
        return f"no label before the features; {ONE_CLASS}, and leave out samples without one"
    return None


def _loader() -> Load:
    try:
        load: Load = import_module("sklearn.datasets").load_svmlight_file
    except ImportError as error:
        raise MachineError(
            f"svmlight: needs scikit-learn, which cannot be imported ({error}): pip install 'hpc-sparse[sklearn]'"
        ) from None
    return load
