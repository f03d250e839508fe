"""The vocabulary of tokens: samples stay as they are, and models know what their numbers stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from hpc_sparse.config import RunConfig
from hpc_sparse.dtypes import AnyArray, UInt8Array
from hpc_sparse.errors import DataError, quoted
from hpc_sparse.inputs.protocol import FrontEnd
from hpc_sparse.storage.dataset.samples import Dataset

END = "\0"
"""Between two names, none of which has it."""


@dataclass(frozen=True)
class Vocabulary(FrontEnd):
    """Names of tokens.

    Attributes
    ----------
    names : uint8[n]
        Of the tokens from 0 on, in UTF-8, with a 0 between two.
    unit : uint8[n]
        What a token is, such as "character"; nothing if that is not known.
    """

    name: ClassVar[str] = "vocabulary"
    array_names: ClassVar[tuple[str, ...]] = ("names", "unit")
    acts_in_predictions: ClassVar[bool] = False
    stays_in_exports: ClassVar[bool] = True

    names: UInt8Array
    unit: UInt8Array

    @classmethod
    def known(cls, dataset: Dataset) -> Mapping[str, AnyArray]:
        """That of the data set, if its features are tokens."""
        info = dataset.info
        return {"names": _bytes(END.join(info.vocabulary)), "unit": _bytes(info.unit)} if info.n_tokens else {}

    @classmethod
    def restore(cls, config: RunConfig, arrays: Mapping[str, AnyArray]) -> Self | None:
        """The front end with these names; None if there are none."""
        if not arrays:
            return None
        if any(array.ndim != 1 or array.dtype != np.uint8 for array in arrays.values()):
            raise DataError(f"front end {cls.name}: expected names and unit as bytes")
        try:
            for array in arrays.values():
                array.tobytes().decode()
        except UnicodeDecodeError as error:
            raise DataError(f"front end {cls.name}: byte {error.start}: expected text in UTF-8") from None
        return cls(arrays["names"], arrays["unit"])

    def check_data(self, dataset: Dataset) -> None:
        """Each number must stand for the same token."""
        info = dataset.info
        for number, (own, other) in enumerate(zip(self.entries, info.vocabulary, strict=False)):
            if own != other:
                raise DataError(
                    f"{info.path}: vocabulary[{number}] = {quoted(repr(other))}: expected {quoted(repr(own))}, as in "
                    "the training"
                )

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of the tokens from 0 on."""
        return tuple(self.names.tobytes().decode().split(END))

    @property
    def unit_name(self) -> str:
        """What a token is."""
        return self.unit.tobytes().decode()


def _bytes(text: str) -> UInt8Array:
    return np.frombuffer(text.encode(), np.uint8).copy()
