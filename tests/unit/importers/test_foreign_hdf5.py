"""HDF5 files of others are read by a limited child alone: whatever they do to it becomes one message."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import DataError, MachineError
from hpc_sparse.importers.arrays import foreign_file, foreign_hdf5, limited_process
from hpc_sparse.importers.arrays.foreign_file import ForeignFile
from hpc_sparse.importers.arrays.hdf5 import import_hdf5
from hpc_sparse.importers.arrays.limited_process import Limits
from hpc_sparse.importers.arrays.names import ArrayNames

X, Y = np.arange(40, dtype=np.float32).reshape(20, 2), np.arange(20) % 2
SECRET = b"what another file holds"
QUICK = Limits(memory_bytes=256 * 1024**2, cpu_seconds=1, wall_seconds=20)


def external_link(file: h5py.File) -> None:
    with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
        other["deep/X"] = X
    file["linked"] = h5py.ExternalLink("other.h5", "/deep")


def soft_link_to_an_external_one(file: h5py.File) -> None:
    external_link(file)
    file["soft"] = h5py.SoftLink("/linked/X")


def soft_links_in_circles(file: h5py.File) -> None:
    file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")


def external_storage(file: h5py.File) -> None:
    (other := Path(file.filename).with_name("secret")).write_bytes(SECRET * 100)
    file.create_dataset("outside", X.shape, X.dtype, external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[...] = h5py.VirtualSource("other.h5", "X", X.shape)
    file.create_virtual_dataset("virtual", layout)


def compound(file: h5py.File) -> None:
    file["compound"] = np.zeros((20, 2), [("a", "f4")])


REFUSED: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "linked/X": (external_link, "is behind a link into another file, other.h5: expected it in this one"),
    "soft": (soft_link_to_an_external_one, "is behind a link into another file, other.h5"),
    "a": (soft_links_in_circles, "is behind more than 16 soft links"),
    "outside": (external_storage, "its bytes are in other files, as .*secret.*: expected them in this one"),
    "virtual": (virtual, r"is made of other arrays \(virtual\): expected an array of its own"),
    "compound": (compound, "elements of type .*: expected numbers or text"),
    "bomb": (
        lambda file: file.create_dataset("bomb", (2**36, 2), "f4", chunks=(2**10, 2), compression="gzip"),
        "0 bytes that expand to 549755813888, in a file of .*: impossible",
    ),
    "nothing": (lambda file: file.create_dataset("nothing", (2**36, 2), "f4"), "0 bytes that expand to 549755813888"),
    "huge chunk": (
        lambda file: file.create_dataset("huge chunk", (2**13, 2**15), "f4", chunks=(2**13, 2**15)),
        "0 bytes that expand to 1073741824",
    ),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file with samples X and y, and what else."""

    def make(*steps: Callable[[h5py.File], object]) -> Path:
        with h5py.File(tmp_path / "t.h5", "w") as file:
            file["X"], file["y"] = X, Y
            for step in steps:
                step(file)
        return tmp_path / "t.h5"

    return make


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the child be another program, by its last lines."""

    def use(code: str) -> None:
        (tmp_path / "child.py").write_text(f"import json, os, resource, sys, time\n{code}\n")
        monkeypatch.setattr(foreign_file, "PROGRAM", tmp_path / "child.py")

    return use


@pytest.mark.parametrize("name", REFUSED)
def test_what_leads_out_of_the_file_or_to_nothing_is_refused(write: Callable[..., Path], name: str) -> None:
    step, message = REFUSED[name]
    path = write(step)
    with pytest.raises(DataError, match=f"t.h5: {name}.*: {message}") as caught:
        import_hdf5(path, path.with_name("out.h5"), names=ArrayNames(name, "y"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert not path.with_name("out.h5").exists()


def test_soft_links_within_the_file_are_followed(write: Callable[..., Path]) -> None:
    def link(file: h5py.File) -> None:
        file["here"], file["group/X"] = h5py.SoftLink("/X"), X + 1
        file["group/soft"] = h5py.SoftLink("X")

    with ForeignFile(write(link)) as file:
        np.testing.assert_array_equal(file.item("here").all(), X)  # type: ignore[union-attr]
        np.testing.assert_array_equal(file.item("group/soft").all(), X + 1)  # type: ignore[union-attr]
        assert file.has("here")
        assert not file.has("there")


def test_the_library_of_this_process_opens_nothing(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = write(), []
    monkeypatch.setattr(h5py, "File", lambda *arguments, **_: opened.append(arguments))
    with ForeignFile(path) as file:
        np.testing.assert_array_equal(file.item("X")[3:7], X[3:7])  # type: ignore[index]
    assert opened == []


def test_a_file_that_takes_the_name_later_is_not_read(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write()
    with ForeignFile(path) as file:
        with h5py.File(tmp_path / "new.h5", "w") as new:
            new["X"] = X + 1
        (tmp_path / "new.h5").replace(path)
        np.testing.assert_array_equal(file.item("X").all(), X)  # type: ignore[union-attr]


def test_what_the_child_may_take_is_limited(write: Callable[..., Path]) -> None:
    path = write(lambda file: file.create_dataset("large", data=np.zeros((300, 2**20), "u1"), compression="gzip"))
    with ForeignFile(path, QUICK) as file:
        with pytest.raises(DataError, match=r"t.h5: large: cannot be read: .*memory|allocat"):
            file.item("large").all()  # type: ignore[union-attr]
        np.testing.assert_array_equal(file.item("X").all(), X)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("os.abort()", r"the library crashed over it \(SIGABRT\): damaged or hostile"),
        ("os.kill(os.getpid(), 11)", r"the library crashed over it \(SIGSEGV\)"),
        ("sys.exit(3)", "ended with exit code 3"),
        ("sys.stdin.readline()", "gave no sensible answer"),
        ("resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass", "took more than 1 s of processor time"),
        ("sys.stdout.buffer.write((2**62).to_bytes(8, 'little'))", "gave no sensible answer"),
        ("sys.stdout.buffer.write((2).to_bytes(8, 'little') + b'[]')", "gave no sensible answer"),
        ("sys.stdout.buffer.write((2).to_bytes(8, 'little') + b'{]')", "gave no sensible answer"),
        ("sys.stdout.buffer.write((9).to_bytes(8, 'little') + b'[' * 9)", "gave no sensible answer"),
    ],
)
def test_a_child_that_does_not_answer_becomes_one_message(
    write: Callable[..., Path], child: Callable[[str], None], code: str, message: str
) -> None:
    child(f"{code}\nsys.stdout.flush()\ntime.sleep(60 if 'write' in {code!r} else 0)")
    with pytest.raises(DataError, match=rf"t.h5: as an HDF5 file: .*{message}"), ForeignFile(write(), QUICK):
        raise AssertionError


ANSWER = """
sys.stdin.readline()
answer = json.dumps({}).encode()
sys.stdout.buffer.write(len(answer).to_bytes(8, "little") + answer)
sys.stdout.flush()
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"dtype": "|O", "shape": [1]}, "no sensible answer"),
        ({"dtype": "<f4", "shape": [2**62, 2**62]}, "no sensible answer"),
        ({"dtype": "<f4", "shape": [-1]}, "no sensible answer"),
        ({"dtype": "nonsense", "shape": [1]}, "no sensible answer"),
        ({"dtype": "<f4", "shape": 7}, "no sensible answer"),
        ({"refused": "\x1b[2J" + "x" * 9000}, r"\\x1b\[2Jx{300,}\.\.\."),
    ],
)
def test_answers_of_a_child_are_checked(
    write: Callable[..., Path], child: Callable[[str], None], answer: dict[str, Any], message: str
) -> None:
    child(ANSWER.format(answer))
    with pytest.raises(DataError, match=message) as caught, ForeignFile(write(), QUICK):
        raise AssertionError
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"stored_dtype": "<f4", "shape": [1, -2], "chunks": None}, "no sensible answer"),
        ({"stored_dtype": "<f4", "shape": ["a"], "chunks": None}, "no sensible answer"),
        ({"stored_dtype": "?!", "shape": [2], "chunks": None}, "no sensible answer"),
        ({"members": 3}, "no sensible answer"),
        ([], "no sensible answer"),
    ],
)
def test_descriptions_by_a_child_are_checked(
    write: Callable[..., Path], child: Callable[[str], None], value: Any, message: str
) -> None:
    opened = 'sys.stdout.buffer.write((2).to_bytes(8, "little") + b"{}")\nsys.stdout.flush()\n'
    child("sys.stdin.readline()\n" + opened + ANSWER.format({"value": value}))
    with ForeignFile(write(), QUICK) as file, pytest.raises(DataError, match=message):
        file.item("X")


def test_one_that_takes_too_long_is_ended(write: Callable[..., Path], child: Callable[[str], None]) -> None:
    child("time.sleep(100)")
    start = time.monotonic()
    with (
        pytest.raises(DataError, match="took more than 1 s: damaged, or a slow file system"),
        ForeignFile(write(), Limits(wall_seconds=1)),
    ):
        raise AssertionError
    assert time.monotonic() - start < 30


def test_a_child_that_cannot_be_started_is_told(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_process.sys, "executable", "/nowhere/python")
    with pytest.raises(MachineError, match=r"foreign_hdf5.py: cannot be started: No such file"):
        ForeignFile(write())


def test_the_child_is_no_rank_and_ends_with_its_file(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    with ForeignFile(write()) as file:
        process = file._process._child
        variables = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"OMPI" not in variables
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file._descriptor)


def test_limits_of_the_child_only_become_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {foreign_hdf5.resource.RLIMIT_CORE: (5, 5)}
    monkeypatch.setattr(foreign_hdf5.resource, "getrlimit", lambda which: limits[which])
    monkeypatch.setattr(foreign_hdf5.resource, "setrlimit", limits.__setitem__)
    foreign_hdf5._lower(foreign_hdf5.resource.RLIMIT_CORE, 9)
    assert limits == {foreign_hdf5.resource.RLIMIT_CORE: (5, 5)}
    foreign_hdf5._lower(foreign_hdf5.resource.RLIMIT_CORE, 0)
    assert limits == {foreign_hdf5.resource.RLIMIT_CORE: (0, 0)}
