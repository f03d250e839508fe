"""Compiled kernels on disk: a cache that cannot be read or written to costs time, and never the program."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

PACKAGE = __name__.partition(".")[0]

_has_warned: list[bool] = []
"""Not empty once this process has warned."""


def tolerate_bad_caches() -> None:
    """Have numba compile this package's kernels without a cache where there is no sound one, with one warning.

    A folder without write permission, a full disk and a truncated file are such cases. Functions of other packages stay
    as they are.
    """
    dispatcher: Any = import_module("numba.core.dispatcher")
    if not hasattr(dispatcher.FunctionCache, "is_tolerant"):
        dispatcher.FunctionCache = _tolerant(dispatcher.FunctionCache, dispatcher.NullCache)


def _tolerant(plain: Any, none: Any) -> Callable[[Any], Any]:
    """A maker of caches like ``plain``, numba's own class; ``none`` is its class of no cache."""

    class TolerantCache(plain):  # type: ignore[misc]
        """A cache of one function that fails silently, after a warning."""

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception as error:  # noqa: BLE001  (a damaged file can raise anything while it is unpickled)
                _warn(self.cache_path, error)
                with suppress(OSError):
                    self.flush()
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            except Exception as error:  # noqa: BLE001  (the index is read again before it is written)
                _warn(self.cache_path, error)

    def make(function: Any) -> Any:
        if function.__module__.partition(".")[0] != PACKAGE:
            return plain(function)
        try:
            return TolerantCache(function)
        except (OSError, RuntimeError) as error:
            _warn(import_module("numba.core.config").CACHE_DIR, error)
            return none()

    make.is_tolerant = True  # type: ignore[attr-defined]
    return make


def _warn(folder: str, error: Exception) -> None:
    if _has_warned:
        return
    _has_warned.append(True)
    reason = f"{type(error).__name__}: {error}".partition("\n")[0]
    warnings.warn(
        f"compiled kernels in {folder} cannot be used or kept ({reason}): they are compiled anew, which takes a "
        "minute; remove damaged files there, make room, or set NUMBA_CACHE_DIR to a folder that can be written to",
        RuntimeWarning,
        stacklevel=2,
    )
