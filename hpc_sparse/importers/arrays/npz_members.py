"""Headers of a NumPy archive's arrays, checked against the size of the file before any array is read."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hpc_sparse.errors import DataError, quoted

MOST_EXPANSION = 1032
"""Deflate makes at most this many bytes of one (zlib's documentation)."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods of NumPy; others can expand without limit."""

ARRAY_SIGNATURE = b"\x93NUMPY"

HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_members(path: Path, file: BinaryIO) -> None:
    """Refuse an archive with a member that cannot be what it says.

    Raises
    ------
    DataError
        A member has a compression method that NumPy does not use, or an impossible ratio. Or it shares its bytes with
        another one, holds Python objects, or has another size than its shape needs.
    zipfile.BadZipFile, ValueError and others
        The file is no archive.
    """
    if file.read(len(ARRAY_SIGNATURE)) == ARRAY_SIGNATURE:
        raise DataError(f"{path}: holds a single array: expected an .npz archive of named arrays")
    with zipfile.ZipFile(file) as archive:
        n_compressed = sum(member.compress_size for member in archive.infolist())
        n_bytes = path.stat().st_size
        if n_compressed > n_bytes:
            raise DataError(f"{path}: parts of {n_compressed} bytes: expected no more than the file's {n_bytes}")
        for member in archive.infolist():
            _check_member(path, archive, member)


def _check_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    where = f"{path}: {quoted(member.filename)}"
    if member.compress_type not in METHODS:
        raise DataError(f"{where}: compression method {member.compress_type}: expected none or deflate")
    if member.file_size > MOST_EXPANSION * (member.compress_size + 1):
        raise DataError(f"{where}: {member.compress_size} bytes that expand to {member.file_size}: impossible")
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        if version not in HEADER_READERS:
            raise DataError(f"{where}: version {version} of the array format: expected 1.0 or 2.0")
        shape, _, dtype = HEADER_READERS[version](content)
        n_left = member.file_size - content.tell()
    if dtype.hasobject:
        raise DataError(
            f"{where}: holds pickled objects, which are not read: expected numbers or text (sequences of "
            "unequal length: as long as the longest, with an array of lengths)"
        )
    expected = math.prod(shape) * dtype.itemsize
    if not dtype.itemsize or min(shape, default=0) < 0 or n_left != expected:
        raise DataError(f"{where}: {n_left} bytes: expected {expected} for {dtype}{list(shape)}")
