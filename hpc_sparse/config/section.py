"""Base class of all sections of a configuration, and the kinds of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from hpc_sparse.dtypes import MAX_NEURONS

MAX_COUNT = (1 << 63) - 1
"""The largest integer of TOML, and of int64."""

Fraction = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Percentile = Annotated[float, Field(ge=0, lt=100, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
PositiveCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Width = Annotated[int, Field(ge=1, le=MAX_NEURONS)]


class Section(BaseModel):
    """A section of the file: frozen, strict about types, without unknown keys.

    What the text below a key says is read from the source when the reference is printed. Pydantic would parse the
    source of every section at every start.

    Attributes
    ----------
    formerly : mapping of str to str
        Keys by another name, ``section.key``, in files of former versions, which stay readable.
    """

    formerly: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
