"""The arrays of a NumPy archive (.npz)."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hpc_sparse.checks import check_tokens
from hpc_sparse.dtypes import INDEX, AnyArray, Int32Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.importers.arrays.npz_members import check_members
from hpc_sparse.importers.features import csr_features, dense_features
from hpc_sparse.importers.labels import as_text
from hpc_sparse.storage.dataset.samples import DenseFeatures, Features

LABEL_NAMES = ("label", "labels", "y")
CLASS_NAMES = ("classes", "class_names")
VOCABULARY = "vocabulary"
"""Of tokens: the name of each."""

ARCHIVE_ERRORS = (
    *(OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, RuntimeError, OverflowError, MemoryError),
    *(SyntaxError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""Errors that zipfile and NumPy raise for a malformed file, depending on the part that is malformed."""


class Archive:
    """The arrays of one file, with errors (DataError) that name it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # NumPy leaves a damaged file open that it opened itself.
            with path.open("rb") as file:
                check_members(path, file)
                file.seek(0)
                archive = np.load(file, allow_pickle=False)
                self.arrays: dict[str, AnyArray] = {name: archive[name] for name in archive.files}
        except ARCHIVE_ERRORS as error:
            reason = quoted(str(error))
            raise DataError(f"{path}: cannot be read as an .npz archive without pickled objects: {reason}") from error

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def array(self, name: str) -> AnyArray:
        """One of the arrays, which must be there."""
        if name not in self.arrays:
            raise DataError(f'{self.path}: array "{name}" is missing (it has {", ".join(self.arrays) or "none"})')
        return self.arrays[name]

    def where(self, name: str) -> str:
        """Name of file and array, to begin messages with."""
        return f"{self.path}: {name}"

    def vector(self, name: str, dtype: npt.DTypeLike, size: int | None = None) -> AnyArray:
        """An array ``dtype[size]``, of any size by default."""
        values = self.array(name)
        if values.ndim != 1 or values.dtype != dtype or size not in {None, values.size}:
            expected = f"{np.dtype(dtype)}[{'n' if size is None else size}]"
            raise DataError(f"{self.where(name)}: {values.dtype}{list(values.shape)}: expected {expected}")
        return values

    def text(self, name: str) -> str:
        """An array that is one text."""
        values = self.array(name)
        if values.ndim or values.dtype.kind != "U":
            raise DataError(f"{self.where(name)}: {values.dtype}{list(values.shape)}: expected a text")
        return str(values)

    def vocabulary(self) -> tuple[str, ...] | None:
        """Names of the tokens that features are; None if they are numbers."""
        if VOCABULARY not in self:
            return None
        return tuple(as_text(self.where(VOCABULARY), self.array(VOCABULARY)).reshape(-1).tolist())

    def values(self, name: str, lengths: str) -> Features:
        """Dense features from an array, or tokens; 0 beyond the steps that count, which the array ``lengths`` says."""
        names, values = self.vocabulary(), self._counted(name, lengths)
        if names is None:
            try:
                return dense_features(self.where(name), values)
            except DataError as error:
                if values.ndim > 2 and lengths not in self:
                    raise DataError(f"{error} (sequences of unequal length need an array {quoted(lengths)})") from None
                raise
        if values.ndim != 2 or values.dtype.kind not in "iu":
            raise DataError(
                f"{self.where(name)}: {values.dtype}{list(values.shape)}: expected tokens, integers [samples, steps]"
            )
        check_tokens(self.where(name), values, len(names), error=DataError)
        return DenseFeatures(np.ascontiguousarray(values, INDEX))

    def lengths(self, name: str, n_samples: int) -> Int32Array | None:
        """Steps of each sequence that count; None if the archive does not say."""
        if name not in self:
            return None
        values = self.array(name)
        if values.shape != (n_samples,) or values.dtype.kind not in "iu":
            raise DataError(
                f"{self.where(name)}: {values.dtype}{list(values.shape)}: expected integers [{n_samples}], the steps "
                "of each sample"
            )
        return np.minimum(values, np.iinfo(INDEX).max).astype(INDEX)

    def csr(self, prefix: str, n_rows: int, n_features: int) -> Features:
        """Sparse features from the arrays that begin with ``prefix``."""
        return csr_features(
            self.where(f"{prefix}data") if f"{prefix}data" in self else self.where(f"{prefix}indices"),
            self.array(f"{prefix}indptr"),
            self.array(f"{prefix}indices"),
            self.arrays.get(f"{prefix}data"),
            (n_rows, n_features),
        )

    def shape(self, name: str, length: int) -> list[int]:
        """An array of ``length`` sizes."""
        shape = self.array(name).reshape(-1)
        if shape.dtype.kind not in "iu" or shape.size != length or (shape < 0).any():
            raise DataError(f"{self.where(name)} = {shape.tolist()}: expected {length} sizes")
        return [int(size) for size in shape]

    def class_names(self) -> tuple[str, ...] | None:
        """Names of the integer labels, if the archive has them."""
        for name in CLASS_NAMES:
            if name in self:
                return tuple(as_text(self.where(name), self.array(name)).reshape(-1).tolist())
        return None

    def labels(self, prefix: str = "") -> AnyArray:
        """The labels that begin with ``prefix``."""
        for name in LABEL_NAMES:
            if f"{prefix}{name}" in self:
                return self.array(f"{prefix}{name}")
        raise DataError(
            f'{self.path}: labels are missing: expected an array "{prefix}label" (it has {list(self.arrays)})'
        )

    def _counted(self, name: str, lengths: str) -> AnyArray:
        """An array, in which what is beyond the length of a sequence may be anything, with 0 there."""
        values = self.array(name)
        has_steps = values.ndim > 2 or (values.ndim == 2 and VOCABULARY in self)
        own = self.lengths(lengths, len(values)) if has_steps else None
        if own is None:
            return values
        is_wrong = (own < 1) | (own > values.shape[1])
        if is_wrong.any():
            row = int(np.argmax(is_wrong))
            raise DataError(
                f"{self.where(lengths)}[{row}] = {own[row]}: must be >= 1 and <= {values.shape[1]}, the steps of {name}"
            )
        is_beyond = np.arange(values.shape[1]) >= own[:, None]
        values = values.copy()
        values[is_beyond] = 0
        return values
