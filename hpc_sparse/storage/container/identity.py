"""Identity of a file that was checked, so that opening it again by name finds the same file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Self

from hpc_sparse.errors import FileFormatError


class FileIdentity(NamedTuple):
    """A file as one machine sees it.

    Attributes
    ----------
    machine : str
        Others may see other numbers.
    device, inode : int
    n_bytes : int
    """

    machine: str
    device: int
    inode: int
    n_bytes: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The identity by what the operating system says."""
        return cls(os.uname().nodename, status.st_dev, status.st_ino, status.st_size)

    def require(self, path: Path, status: os.stat_result) -> None:
        """Make sure that a file that was opened by the name ``path`` is this one; on another machine, as large.

        Raises
        ------
        FileFormatError
            It is another one. (A change of its bytes is not seen here: times are not the same in all file systems.)
        """
        found = FileIdentity.of(status)
        is_same = found == self if found.machine == self.machine else found.n_bytes == self.n_bytes
        if not is_same:
            raise FileFormatError(f"{path}: was replaced while it was opened: expected one that stays")
