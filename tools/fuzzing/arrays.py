"""Arrays and matrices as callers of a library may give them: sound ones, and ones that are wrong in some way."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from fuzzing.mutations import FLOATS, NUMBERS

FORMATS = ("csr", "csr", "csr", "csc", "coo", "bsr", "lil", "dok", "dia")
DTYPES = (
    "f4",
    "f4",
    "f4",
    "f8",
    "f8",
    "u1",
    "i1",
    "i4",
    "i8",
    "u8",
    "f2",
    "?",
    ">f4",
    ">f8",
    "g",
    "c8",
    "O",
    "U3",
    "M8[s]",
)


def any_samples(chance: random.Random, n_rows: int, n_features: int) -> Any:
    """Samples of one of many kinds, of about this shape."""
    rng = np.random.default_rng(chance.randrange(2**32))
    if chance.random() < 0.1:
        n_rows, n_features = (chance.choice((n, 0, 1, n + 1)) for n in (n_rows, n_features))
    values = rng.normal(size=(n_rows, n_features)) * chance.choice((1, 1, 1, 100, 1e-30, 1e30))
    if chance.random() < 0.15:
        values += chance.choice((1.7e9, 1e16, -1e5))
    if chance.random() < 0.15 and values.size:
        values.flat[chance.randrange(values.size)] = chance.choice((*FLOATS, 1e300, -1e39))
    return _sparse(chance, rng, values) if chance.random() < 0.5 else _dense(chance, values)


def any_matrix(chance: random.Random, shape: tuple[int, int]) -> Any:
    """A sparse matrix that may be broken."""
    rng = np.random.default_rng(chance.randrange(2**32))
    if chance.random() < 0.1:
        shape = (chance.choice((shape[0], 0, 1, 9)), chance.choice((shape[1], 0, 1, 9)))
    return _sparse(chance, rng, rng.normal(size=shape))


def same_as_dense(X: Any) -> Any:
    """A sound sparse matrix as an array; None for others, and where sums of repeated entries could differ in a bit."""
    if not hasattr(X, "tocsr"):
        return None
    rows = X.tocoo()
    places = rows.coords[0].astype(np.int64) * X.shape[1] + rows.coords[1]
    return rows.toarray() if np.unique(places).size == places.size else None


def any_vector(chance: random.Random, values: Any) -> Any:
    """Targets or weights like ``values``, which may be wrong."""
    dtype = chance.choice(("f4", "f8", "i8", "?", "O", "U3", "c8"))
    wrong: tuple[Callable[[], Any], ...] = (
        lambda: values[: chance.randrange(len(values) + 1)],
        lambda: np.asarray(values)[:, None],
        lambda: np.asarray(values).astype(dtype),
        lambda: np.where(np.arange(len(values)) == 3, chance.choice((*FLOATS, -1.0, 1e300)), 1.0),
        lambda: list(values),
        lambda: chance.choice((None, 1.0, "x", np.zeros(len(values)), np.ma.masked_equal(values, values[0]))),
    )
    return values if chance.random() < 0.5 else chance.choice(wrong)()


def break_index(array: Any, chance: random.Random) -> Any:
    """An array of indices with other values, or of another length or type."""
    kind = chance.randrange(8)
    if kind == 0:
        return array[: chance.randrange(array.size + 1)]
    if kind == 1:
        return np.concatenate([array, array])
    if kind == 2:
        return array.astype(chance.choice(("i1", "i8", "u8", "f8", "f4")))
    if kind == 3:
        return array[::-1]
    changed = array.copy()
    for _ in range(chance.choice((1, 2, 5)) if array.size else 0):
        number = chance.choice((*NUMBERS, -1, -(2**31), chance.randrange(12)))
        changed[chance.randrange(array.size)] = np.array(number % 2**64, np.uint64).astype(array.dtype)
    return changed


def _dense(chance: random.Random, values: Any) -> Any:
    dtype = chance.choice(DTYPES)
    with np.errstate(all="ignore"):
        values = values.astype("i8").astype(dtype) if dtype.startswith("M") else values.astype(dtype)
    others: tuple[Callable[[], Any], ...] = (
        lambda: np.asfortranarray(values),
        lambda: np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)[::2, ::2],
        lambda: values[::-1, ::-1],
        lambda: _unaligned(values),
        values.tolist,
        lambda: pd.DataFrame(values, columns=[f"c{number}" for number in range(values.shape[1])]),
        lambda: np.ma.masked_array(values, np.arange(values.size).reshape(values.shape) == 3),
        lambda: chance.choice((values[:, :1].reshape(-1), values[None], values.reshape(-1), np.float32(3))),
        lambda: np.broadcast_to(values[:1], values.shape) if values.shape[0] else values,
    )
    return values if chance.random() < 0.4 else chance.choice(others)()


def _unaligned(values: Any) -> Any:
    """The same numbers from an odd address on."""
    if values.dtype.hasobject:
        return values
    return np.frombuffer(b"x" + values.tobytes(), np.uint8)[1:].view(values.dtype).reshape(values.shape)


def _sparse(chance: random.Random, rng: Any, values: Any) -> Any:
    values = np.where(rng.random(values.shape) < 0.4, values, 0)
    dtype = chance.choice(("f4", "f4", "f8", "f8", "i8", "u1", "?", "c8"))
    form = chance.choice(FORMATS)
    with np.errstate(all="ignore"):
        matrix = getattr(scipy.sparse, f"{form}_{chance.choice(('array', 'matrix'))}")(values.astype(dtype))
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        _break(matrix, chance)
    return matrix


def _break(matrix: Any, chance: random.Random) -> None:
    """Change one of the arrays of a matrix, as SciPy lets anybody."""
    form = matrix.format
    if form in {"csr", "csc", "bsr"}:
        name = chance.choice(("indices", "indices", "indptr", "data", "flags"))
        if name == "flags":
            matrix.has_sorted_indices = matrix.has_canonical_format = True
            matrix.indices = matrix.indices[::-1].copy()
        elif name == "data":
            matrix.data = matrix.data[: chance.randrange(len(matrix.data) + 1)]
        else:
            setattr(matrix, name, break_index(getattr(matrix, name), chance))
    elif form == "coo":
        rows, columns = matrix.coords
        broken = break_index(columns, chance)
        matrix.coords = chance.choice(((rows, broken), (broken, columns)))
    elif form == "dia":
        matrix.offsets = break_index(matrix.offsets, chance)
    elif form == "lil" and matrix.shape[0]:
        matrix.rows[chance.randrange(matrix.shape[0])] = [chance.choice((-1, 3, 2**40, "x"))]
    elif form == "dok":
        matrix._dict[chance.choice(((2**31, 0), (0, -1), (1, 2**40)))] = 1.0
