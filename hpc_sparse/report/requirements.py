"""Whether the libraries of an extra are there."""

from __future__ import annotations

from importlib.util import find_spec

from hpc_sparse.errors import MachineError


def check_libraries(*names: str, extra: str = "report") -> None:
    """Make sure that libraries of an extra are installed, before anything is computed.

    Raises
    ------
    MachineError
        One is missing.
    """
    for name in names:
        if find_spec(name) is None:
            raise MachineError(
                f"{extra}: {name} is missing: install the extra '{extra}' (pip install 'hpc-sparse[{extra}]')"
            )
