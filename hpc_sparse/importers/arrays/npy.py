"""Pairs of NumPy files (.npy): samples x features, and labels; files larger than memory are read piece by piece."""

from __future__ import annotations

import tokenize
from pathlib import Path

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.rows import ArrayPart, ArraySource, DenseRows
from hpc_sparse.importers.features import dense_features
from hpc_sparse.importers.options import ImportOptions
from hpc_sparse.importers.streamed import import_streamed
from hpc_sparse.importers.text_files import reason
from hpc_sparse.storage.dataset.samples import DatasetInfo, Features

Pair = tuple[Path | str, Path | str]


def import_npy(
    source: Pair, target: Path | str, *, test: Pair | None = None, options: ImportOptions | None = None
) -> DatasetInfo:
    """Import the files of X and y.

    Parameters
    ----------
    source : (path, path)
        X (samples x any axes) and y, integers or text.
    target : path
    test : (path, path), optional
        The same for testing; by default some of the samples are taken.
    options : ImportOptions, optional

    Raises
    ------
    DataError
        A file cannot be read without unpickling, or the arrays do not fit.
    OutputError
        ``target`` exists and is not to be overwritten, or cannot be written.
    """
    pairs = [source] if test is None else [source, test]
    files = [(Path(x), Path(y)) for x, y in pairs]
    parts = [ArrayPart(_MappedRows(x), np.array(read_npy(y))) for x, y in files]
    described = "; ".join(f"{x.name}, {y.name}" for x, y in files)
    return import_streamed(
        ArraySource(str(files[0][0]), parts, described), target, files[0][0].stem, options or ImportOptions()
    )


class _MappedRows(DenseRows):
    """The rows of a file, mapped anew for each piece: what was read does not stay in memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), read_npy(path))
        self._path = path

    def rows(self, start: int, stop: int) -> Features:
        """Some rows, as bytes or float32."""
        return dense_features(self.where, read_npy(self._path)[start:stop], first_row=start)


def read_npy(path: Path) -> AnyArray:
    """The array of a file, which is mapped, not read."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise DataError(f"{path}: cannot be read as an array without pickled objects: {reason(error)}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: holds several arrays: expected a single one (.npy); for .npz: data import npz")
    return array
