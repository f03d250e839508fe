"""Room on disk for a file that is being written, taken before HDF5 needs it.

HDF5 does not survive a disk that fills up while it writes. A close that fails ends the process later. In parallel HDF5,
one rank gets an error within a collective call in which the others wait. Room is therefore reserved first, where a
refusal is an ordinary error.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

METADATA_BYTES = 1024 * 1024
"""Room for all that is no array."""
BYTES_PER_ARRAY = 16 * 1024
"""Room for what HDF5 keeps about an array, and for its alignment."""

_CANNOT_RESERVE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""Errors of file systems without reservations: there, nothing can be known before."""

_END_OF_FILE = slice(28, 36)
"""Position of the file's length in HDF5's superblock, version 2 or 3."""


class Reservation:
    """Room for one empty file, which grows with what is going to be written; for one rank to take."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_bytes = 0

    def grow(self, n_bytes: int) -> None:
        """Reserve ``n_bytes`` more bytes.

        Raises
        ------
        OSError
            The disk or the quota has no room for them.
        """
        descriptor = os.open(self._path, os.O_WRONLY)
        try:
            # Only what is new: others may be writing before it.
            os.posix_fallocate(descriptor, self._n_bytes, n_bytes)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
        finally:
            os.close(descriptor)
        self._n_bytes += n_bytes

    def give_back(self) -> None:
        """Cut the complete, closed file to the length that it says it has."""
        with self._path.open("rb") as file:
            length = int.from_bytes(file.read(_END_OF_FILE.stop)[_END_OF_FILE], "little")
        if length < self._path.stat().st_size:
            os.truncate(self._path, length)
