"""A child process with little memory and time, in which a library may crash over a foreign file.

A request is a line of JSON. An answer is JSON after its length in bytes, and an array's bytes if it says so. The child
is trusted as little as the file: what it sends is data, of a size and type that are checked.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from hpc_sparse.dtypes import AnyArray
from hpc_sparse.errors import DataError, MachineError, quoted

KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HDF5_PLUGIN_PATH", "LANG", "LC_ALL", "TMPDIR")
"""Environment variables that the child inherits: the paths of libraries.

The launcher's variables are left out, so that the child is not taken for an MPI rank.
"""

OWN_VARIABLES = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}

START = "import runpy, sys; sys.path += sys.argv[3:]; runpy.run_path(sys.argv[1], run_name='__main__')"
"""Runs a program that finds a few packages and nothing else: reading site-packages' own files takes longer."""

PLAIN_KINDS = "biufSU"
"""Kinds of dtypes that are taken from the child: numbers and text of fixed length."""

LENGTH_BYTES = 8
"""Before an answer, its length."""

LONGEST_ANSWER = 4 * 1024 * 1024
LONGEST_REASON = 400

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of the child's resources.

    Attributes
    ----------
    memory_bytes : int
        Beyond what it has when its libraries are loaded.
    cpu_seconds, wall_seconds : int
        For one answer: of processor time, and of anything, as of a file system that does not answer.
    """

    memory_bytes: int = 4 * 1024**3
    cpu_seconds: int = 60
    wall_seconds: int = 600


class LimitedProcess:
    """A running child, until it is ended.

    Parameters
    ----------
    program : Path
        Python file that answers requests; see :mod:`hpc_sparse.importers.arrays.foreign_hdf5`.
    packages : sequence of str
        Names of the packages that it imports.
    descriptor : int
        Open file that it inherits under the same number.
    limits : Limits

    Raises
    ------
    MachineError
        It could not be started.
    """

    def __init__(self, program: Path, packages: Sequence[str], descriptor: int, limits: Limits) -> None:
        self._limits = limits
        settings = json.dumps({"memory_bytes": limits.memory_bytes, "cpu_seconds": limits.cpu_seconds})
        specs = [find_spec(name) for name in packages]
        folders = sorted({str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin})
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", START, str(program), settings, *folders],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=kept | OWN_VARIABLES,
                pass_fds=(descriptor,),
                bufsize=0,
            )
        except OSError as error:
            raise MachineError(f"{program.name}: cannot be started: {error.strerror}") from error

    def end(self) -> None:
        """End the child."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def ask(self, what: str, **request: Any) -> Any:
        """The answer to a request; a dict with ``dtype`` and ``shape`` in it is followed by that array, which it is.

        Parameters
        ----------
        what : str
            The file and what is wanted of it, to begin messages with.
        **request : JSON values

        Raises
        ------
        DataError
            The child refused, failed, died, took too long, or answered nonsense.
        """
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            self._child.stdin.write(json.dumps(request).encode() + b"\n")  # type: ignore[union-attr]
        except OSError:
            self.fail(what)
        n_bytes = int.from_bytes(self._receive(what, LENGTH_BYTES, deadline), "little")
        if n_bytes > LONGEST_ANSWER:
            self.fail(what)
        answer = self._parsed(what, bytes(self._receive(what, n_bytes, deadline)))
        if "refused" in answer:
            raise DataError(f"{what}: {quoted(str(answer['refused']), LONGEST_REASON)}")
        if "dtype" not in answer:
            return answer.get("value")
        return self._array(what, answer, deadline)

    def _parsed(self, what: str, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            self.fail(what)
        if not isinstance(answer, dict):
            self.fail(what)
        return answer

    def _array(self, what: str, answer: dict[str, Any], deadline: float) -> AnyArray:
        """The array that follows an answer; no larger than the child's memory."""
        try:
            dtype, shape = np.dtype(str(answer["dtype"])), tuple(map(int, answer["shape"]))
        except (KeyError, TypeError, ValueError):
            self.fail(what)
        n_bytes = math.prod(shape) * dtype.itemsize
        if dtype.kind not in PLAIN_KINDS or min(shape, default=0) < 0 or n_bytes > self._limits.memory_bytes:
            self.fail(what)
        return np.frombuffer(self._receive(what, n_bytes, deadline), dtype).reshape(shape)

    def _receive(self, what: str, n_bytes: int, deadline: float) -> bytearray:
        """The next bytes that the child sends."""
        content = bytearray(n_bytes)
        view, n_read = memoryview(content), 0
        pipe = self._child.stdout
        assert pipe is not None
        while n_read < n_bytes:
            is_ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not is_ready:
                raise DataError(f"{what}: took more than {self._limits.wall_seconds} s: damaged, or a slow file system")
            n_new = pipe.readinto(view[n_read : n_read + PIECE_BYTES])  # type: ignore[attr-defined]
            if not n_new:
                self.fail(what)
            n_read += n_new
        return content

    def fail(self, what: str) -> NoReturn:
        """Say why the child is of no use any more: what it sent was nonsense, or it is dead."""
        self._child.kill()
        status = self._child.wait()
        if status == -signal.SIGXCPU:
            problem = f"took more than {self._limits.cpu_seconds} s of processor time"
        elif status in (-signal.SIGKILL, 0):
            problem = "the process that reads it gave no sensible answer"
        elif status < 0:
            problem = f"the library crashed over it ({signal.Signals(-status).name})"
        else:
            problem = f"the process that reads it ended with exit code {status}"
        raise DataError(f"{what}: {problem}: damaged or hostile")
