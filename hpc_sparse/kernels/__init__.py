"""Compiled functions over flat arrays: no classes, no files, no MPI, no random state of their own.

Importing a kernel module imports numba and fixes the cache folder of compiled code: ``$NUMBA_CACHE_DIR`` if it is set,
else a subfolder of the user's cache folder. Its name is a hash of the kernels' source, so that a changed kernel never
meets stale code. Nothing is compiled before a kernel is first called. The vector instructions to use are fixed, too:
:mod:`hpc_sparse.kernels.instruction_set`.
"""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from hpc_sparse.kernels.cache import tolerate_bad_caches
from hpc_sparse.kernels.instruction_set import InstructionSet, use_instruction_set

CHECKED = "checked"
"""Name of the subfolder for kernels with bounds checks."""


def cache_folder() -> Path:
    """Where compiled kernels of exactly this source are kept."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "hpc_sparse" / f"kernels-{_source_hash()}"


def compiled_folder() -> Path:
    """Where numba is told to keep what it compiles: :func:`cache_folder`, unless the user has set another."""
    config: Any = import_module("numba.core.config")

    return Path(config.CACHE_DIR)


def use_bounds_checks() -> None:
    """Compile kernels with bounds checks from now on, cached in a subfolder of their own; call before importing any."""
    config: Any = import_module("numba.core.config")

    config.BOUNDSCHECK = 1
    if compiled_folder().name != CHECKED:
        config.CACHE_DIR = str(compiled_folder() / CHECKED)


def _source_hash() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _use_cache_folder() -> None:
    config: Any = import_module("numba.core.config")

    if not config.CACHE_DIR:
        config.CACHE_DIR = str(cache_folder())


def _use_instruction_set() -> InstructionSet:
    config: Any = import_module("numba.core.config")

    return use_instruction_set(config)


_use_cache_folder()
tolerate_bad_caches()
INSTRUCTION_SET: Final = _use_instruction_set()
"""What kernels are compiled for in this process."""
