"""Program of the child process that alone reads HDF5 files of other programs.

It imports only h5py and NumPy, which start no MPI, and limits its own memory, time and files before it opens the file.
Only arrays and groups within the file are accepted: no links into other files, external storage or virtual arrays. An
array is refused if it claims to hold more than its bytes can expand to.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

MOST_LISTED_OBJECTS = 1000
LONGEST_NAME = 1000
"""Characters of a name that is listed."""

MOST_SOFT_LINKS = 16
"""Longest chain of soft links that is followed."""

MOST_EXPANSION = 1032
"""Largest number of bytes per stored byte: deflate's ratio (as for .npz archives)."""

SMALL_BYTES = 64 * 1024 * 1024
"""An array that is no larger may hold less than it says: what is missing is its fill value."""

SPARSE_ARRAYS = ("indptr", "indices", "data")
CATEGORICAL = ("categories", "codes")
WHOLE_GROUPS = ("(sparse rows)", "(categories)")
READABLE_KINDS = "biufSU"


class Refused(Exception):  # noqa: N818  (a message for the user)
    """The file has something that is not read."""


def main() -> None:
    """Answer the requests that come by standard input; ends with it."""
    settings = json.loads(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent's to stop

    _limit(settings["memory_bytes"])
    reader = Reader()
    for line in sys.stdin.buffer:
        _limit_time(settings["cpu_seconds"])
        request = json.loads(line)
        _answer(answers, reader, request.pop("do"), request)


class Reader:
    """The open file; each public method answers a request."""

    def __init__(self) -> None:
        self._file: Any = None

    def open(self, descriptor: int) -> None:
        """Open the file of a descriptor, whatever its name means by now."""
        self._file = h5py.File(f"/dev/fd/{descriptor}", "r", locking=False)

    def arrays(self) -> dict[str, str]:
        """Type and shape of each array, and of each group of sparse rows instead of its arrays."""
        found: dict[str, str] = {}

        def note(name: str, item: Any) -> bool | None:
            if len(name) > LONGEST_NAME:
                return None
            if isinstance(item, h5py.Group) and all(part in item for part in SPARSE_ARRAYS):
                found[name] = "(sparse rows)"
            elif isinstance(item, h5py.Group) and all(part in item for part in CATEGORICAL):
                found[name] = "(categories)"
            elif isinstance(item, h5py.Dataset) and found.get(name.rpartition("/")[0]) not in WHOLE_GROUPS:
                found[name] = f"{item.dtype}{list(item.shape or ())}"[:LONGEST_NAME]
            return True if len(found) >= MOST_LISTED_OBJECTS else None

        self._file.visititems(note)
        return found

    def describe(self, name: str) -> dict[str, Any] | None:
        """An array, a group, or None if there is no such thing."""
        item = self._find(name)
        if isinstance(item, h5py.Dataset):
            shape = [int(length) for length in item.shape or ()]
            return {"stored_dtype": item.dtype.str, "shape": shape, "chunks": item.chunks}
        if isinstance(item, h5py.Group):
            encoding, shape = item.attrs.get("encoding-type"), item.attrs.get("shape")
            index = item.attrs.get("_index")
            return {
                "members": [part for part in (*SPARSE_ARRAYS, "shape", *CATEGORICAL) if part in item],
                "encoding": None if encoding is None else str(encoding)[:LONGEST_NAME],
                "index": None if index is None else str(index)[:LONGEST_NAME],
                "shape": None if shape is None else [int(length) for length in shape[:3]],
            }
        return None

    def read(self, name: str, start: int, stop: int | None, axis: int) -> Any:
        """Rows, or columns if ``axis`` is 1, of an array of numbers; or all of one of text."""
        item = self._find(name)
        if h5py.check_string_dtype(item.dtype) is not None:
            values = np.asarray(item.asstr()[...]).astype(np.str_)
        elif item.dtype.kind in READABLE_KINDS:
            values = item[...] if stop is None else item[:, start:stop] if axis else item[start:stop]
        else:
            raise Refused(f"elements of type {item.dtype}: expected numbers or text")
        return np.asarray(values)

    def _find(self, name: str) -> Any:
        """The object of a path, by hard and soft links within the file alone; None if there is none."""
        parts, item, n_soft = [part for part in name.split("/") if part not in ("", ".")][::-1], self._file["/"], 0
        while parts:
            part = parts.pop()
            link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
            if isinstance(link, h5py.ExternalLink):
                raise Refused(f"is behind a link into another file, {link.filename}: expected it in this one")
            if isinstance(link, h5py.SoftLink):
                n_soft += 1
                if n_soft > MOST_SOFT_LINKS:
                    raise Refused(f"is behind more than {MOST_SOFT_LINKS} soft links")
                parts += [step for step in link.path.split("/") if step not in ("", ".")][::-1]
                item = self._file["/"] if link.path.startswith("/") else item
                continue
            if link is None:
                return None
            item = item[part]
        if isinstance(item, h5py.Dataset):
            _check_storage(item, os.fstat(self._file.id.get_vfd_handle()).st_size)
        return item


def _check_storage(item: Any, file_bytes: int) -> None:
    """Refuse an array whose bytes are elsewhere, nowhere, or too few for what it says."""
    plist = item.id.get_create_plist()
    if plist.get_external_count():
        raise Refused(f"its bytes are in other files, as {plist.get_external(0)[0]!r}: expected them in this one")
    if plist.get_layout() == h5py.h5d.VIRTUAL:
        raise Refused("is made of other arrays (virtual): expected an array of its own")
    for number in range(plist.get_nfilters()):
        code, _, _, filter_name = plist.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise Refused(f"needs the filter {filter_name!r} (number {code}), which is not installed")
    n_stored, n_bytes = item.id.get_storage_size(), math.prod(item.shape or ()) * item.dtype.itemsize
    most = n_stored * (MOST_EXPANSION if plist.get_layout() == h5py.h5d.CHUNKED else 1)
    if n_stored > file_bytes or (n_bytes > most and n_bytes > SMALL_BYTES):
        raise Refused(f"{n_stored} bytes that expand to {n_bytes}, in a file of {file_bytes}: impossible")


def _answer(answers: BinaryIO, reader: Reader, name: str, request: dict[str, Any]) -> None:
    """Send what came of a request, whatever that is."""
    array = None
    try:
        answer: dict[str, Any] = {"value": getattr(reader, name)(**request)}
        if hasattr(answer["value"], "dtype"):
            array = answer["value"]
            answer = {"dtype": array.dtype.str, "shape": array.shape}
    except Refused as error:
        answer = {"refused": str(error)}
    except MemoryError:
        answer = {"refused": "cannot be read: not enough memory for it"}
    except Exception as error:  # noqa: BLE001  (the parent tells it)
        answer = {"refused": f"cannot be read: {error}"}
    for part in _framed(json.dumps(answer).encode(), array):
        answers.write(part)
    answers.flush()


def _framed(content: bytes, array: Any) -> Iterator[Any]:
    yield len(content).to_bytes(8, "little")
    yield content
    if array is not None and array.size:
        yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _limit(memory_bytes: int) -> None:
    """Take no more memory than that beyond what is in use, write no file, leave no core."""
    sizes = Path("/proc/self/statm")
    if sizes.exists():  # on Linux; elsewhere there is no such limit
        used = int(sizes.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, used + memory_bytes)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, limit: int) -> None:
    """Set a limit that cannot be raised again, unless it is lower already."""
    _, most = resource.getrlimit(which)
    limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
    resource.setrlimit(which, (limit, limit))


def _limit_time(seconds: int) -> None:
    """Be ended after so much more processor time."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = math.ceil(usage.ru_utime + usage.ru_stime)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    limit = used + seconds if most == resource.RLIM_INFINITY else min(used + seconds, most)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, most))


if __name__ == "__main__":
    main()
