"""Ways to spoil a file, each a function of its bytes and a source of chance."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np

from fuzzing.checksums import checked_blocks, put_right
from hpc_sparse.storage.container.word_sum import PLAIN_WORD_SUM, WORD_SUM, plain_word_sum, word_sum

Mutation = Callable[[bytes, random.Random], bytes]

NUMBERS = (0, 1, 2, 3, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
"""Numbers at the edges of integer types."""

FLOATS = (0.0, -0.0, 1e-45, 3.4e38, float("inf"), float("-inf"), float("nan"))
NAMES = ("neurons_0", "neurons_2", "mean", "deviation", "format", "config", "x_train", "classes", "data", "unknown")
TEXTS = ("", "relu", "x" * 70_000, "\x1b[2J\n", "ü", "[/bold]")


def cut_off(content: bytes, chance: random.Random) -> bytes:
    """Only the beginning."""
    return content[: chance.randrange(len(content))]


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    """A few bits are others."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def overwrite(content: bytes, chance: random.Random) -> bytes:
    """A few fields have other values."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4))):
        _overwrite_one(spoilt, 0, len(spoilt), chance)
    return bytes(spoilt)


def rearrange(content: bytes, chance: random.Random) -> bytes:
    """A part is left out, doubled, or somewhere else."""
    start, end = sorted(chance.sample(range(len(content) + 1), 2))
    part, rest = content[start:end], content[:start] + content[end:]
    goal = chance.randrange(len(rest) + 1)
    return chance.choice((rest, content[:end] + content[start:], rest[:goal] + part + rest[goal:]))


def overwrite_structure(content: bytes, chance: random.Random) -> bytes:
    """HDF5: fields of the structure have other values, and the checksums are right."""
    blocks = checked_blocks(content)
    spoilt = bytearray(content)
    for start, end in chance.choices(blocks, k=chance.choice((1, 1, 2))):
        for _ in range(chance.choice((1, 1, 2))):
            _overwrite_one(spoilt, start + (8 if start == 0 else 4), end, chance)
        put_right(spoilt, (start, end))
    return bytes(spoilt)


def overwrite_content(content: bytes, chance: random.Random) -> bytes:
    """HDF5: arrays or attributes have other values, and all sums are right."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spoilt.h5"
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            for _ in range(chance.choice((1, 1, 2))):
                _change_attribute(file, chance) if chance.random() < 0.4 else _change_array(file, chance)
        return path.read_bytes()


def overwrite_arrays(content: bytes, chance: random.Random) -> bytes:
    """NumPy archive: arrays have other values, names or none, and the archive is sound."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    for _ in range(chance.choice((1, 1, 2))):
        name = chance.choice(sorted(arrays))
        kind = chance.randrange(8)
        if kind == 0 and len(arrays) > 1:
            del arrays[name]
        elif kind == 1:
            arrays[chance.choice((*sorted(arrays), *NAMES))] = arrays[name]
        else:
            arrays[name] = changed_array(arrays[name], chance)
    np.savez(file := io.BytesIO(), **arrays)  # type: ignore[arg-type]
    return file.getvalue()


ANY_FILE: tuple[Mutation, ...] = (cut_off, flip_bits, overwrite, rearrange)
HDF5: tuple[Mutation, ...] = (
    cut_off,
    flip_bits,
    overwrite_structure,
    overwrite_structure,
    overwrite_content,
    overwrite_content,
)
FOREIGN_HDF5: tuple[Mutation, ...] = (cut_off, flip_bits, overwrite, overwrite_structure, overwrite_structure)
NUMPY: tuple[Mutation, ...] = (*ANY_FILE, overwrite_arrays, overwrite_arrays, overwrite_arrays)


def _overwrite_one(spoilt: bytearray, start: int, end: int, chance: random.Random) -> None:
    width = min(chance.choice((1, 1, 2, 4, 8)), end - start)
    position = chance.randrange(start, end - width + 1)
    kind = chance.randrange(4)
    if kind == 0:
        value = spoilt[position : position + width]
        value[0] ^= 1 << chance.randrange(8)
    elif kind == 1:
        value = bytearray(chance.randbytes(width))
    elif kind == 2:
        value = bytearray((chance.choice(NUMBERS) % 256**width).to_bytes(width, chance.choice(("little", "big"))))
    else:
        shifted = int.from_bytes(spoilt[position : position + width], "little") + chance.choice((-8, -1, 1, 8))
        value = bytearray((shifted % 256**width).to_bytes(width, "little"))
    spoilt[position : position + width] = value


def _change_array(file: h5py.File, chance: random.Random) -> None:
    arrays: list[str] = []
    file.visititems(lambda name, found: arrays.append(name) if isinstance(found, h5py.Dataset) else None)
    name = chance.choice(arrays)
    array = changed_array(file[name][()], chance)
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = array
    for sum_name, sum_of in ((WORD_SUM, word_sum), (PLAIN_WORD_SUM, plain_word_sum)):
        if sum_name in attributes:
            file[name].attrs[sum_name] = sum_of(array)


def changed_array(array: Any, chance: random.Random) -> Any:
    """The array with other values, of another shape or of another type."""
    kind = chance.randrange(8)
    if array.dtype.kind == "U" and not array.ndim:
        return np.array(_other_text(str(array), chance))
    if kind == 0 and array.ndim and array.shape[0]:
        return np.ascontiguousarray(array[chance.randrange(array.shape[0]) :])
    if kind == 1 and array.ndim:
        return np.concatenate([array, array])
    if kind == 2 and array.dtype.kind not in "SU":
        return array.astype(chance.choice(["u1", "i2", "i4", "i8", "f4", "f8"]))
    if kind == 3:
        return array[..., np.newaxis]
    changed = array.copy()
    flat = changed.reshape(-1)
    for _ in range(chance.choice((1, 2, 5)) if flat.size else 0):
        flat[chance.randrange(flat.size)] = _any_value(array.dtype, chance)
    return changed


def _any_value(dtype: np.dtype[Any], chance: random.Random) -> Any:
    if dtype.kind == "f":
        return np.float32(chance.choice(FLOATS)) if chance.random() < 0.7 else chance.gauss(0, 1)
    if dtype.kind == "S":
        return chance.randbytes(dtype.itemsize)
    if dtype.kind == "U":
        return chance.choice(TEXTS)
    number = chance.choice(NUMBERS) if chance.random() < 0.5 else chance.randrange(12)
    return np.frombuffer(struct.pack("<Q", number % 2**64)[: dtype.itemsize], dtype)[0]


def _other_text(text: str, chance: random.Random) -> str:
    return chance.choice((chance.choice(TEXTS), overwrite(text.encode() or b" ", chance).decode(errors="replace")))


def _change_attribute(file: h5py.File, chance: random.Random) -> None:
    owners = [file]
    file.visititems(lambda _, found: owners.append(found))
    owner = chance.choice([owner for owner in owners if len(owner.attrs)])
    name = chance.choice(sorted(owner.attrs))
    kind = chance.randrange(5)
    if kind == 0:
        del owner.attrs[name]
    elif kind == 1:
        encoded = chance.choice(TEXTS).encode()
        owner.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", max(1, len(encoded))))
    elif kind == 2:
        owner.attrs[name] = chance.choice(FLOATS)
    elif kind == 3:
        owner.attrs[name] = np.uint64(chance.choice(NUMBERS))
    else:
        owner.attrs[name] = np.int64(chance.randrange(-2, 12))
