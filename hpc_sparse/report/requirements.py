"""Whether the libraries of the extra ``report`` are there."""

from __future__ import annotations

from importlib.util import find_spec

from hpc_sparse.errors import MachineError


def check_libraries(*names: str) -> None:
    """Make sure that libraries are installed, before anything is computed.

    Raises
    ------
    MachineError
        One is missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise MachineError(
                f"report: {name} is missing: install the extra 'report' (pip install 'hpc-sparse[report]')"
            )
