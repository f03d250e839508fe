"""Foreign data that lie about themselves are refused before they take memory, and nothing in them is executed."""

from __future__ import annotations

import gzip
import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpc_sparse.errors import DataError
from hpc_sparse.importers.arrays.archive import Archive
from hpc_sparse.importers.images.cifar10 import import_cifar10
from hpc_sparse.importers.images.idx import read_idx
from hpc_sparse.importers.labels import encode_labels

MOST_MEMORY = 64 * 1024 * 1024
TABLE = np.arange(12.0).reshape(4, 3)


class Opened:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def npy(shape: Any, descr: Any = "<f4", content: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A NumPy file with any header."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(header).to_bytes(2, "little") + header + content


def archive_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def assert_refused(message: str, read: Callable[[], Any]) -> None:
    """Refused with this message, and without much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message) as caught:
            read()
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy((10**12,)), r"a.npz: x.npy: 0 bytes: expected 4000000000000 for float32\[1000000000000\]"),
        (npy((2**62, 4)), "expected 73786976294838206464"),
        (npy((-4,), content=b"x" * 16), "16 bytes: expected -16"),
        (npy((-2, -2), content=b"x" * 16), "expected 16 for"),
        (npy((10**12,), "<U0"), "0 bytes: expected 0 for"),
        (npy((4,), content=b"x" * 17), r"17 bytes: expected 16 for float32\[4\]"),
        (npy((2,), "|O", b"\x80\x04."), "holds pickled objects, which are not read"),
        (npy((1,), [("a", "|O")], b"x" * 8), "holds pickled objects, which are not read"),
        (npy((1,), "<f4", b"x" * 4, (3, 0)), r"version \(3, 0\) of the array format"),
        (npy("(" * 3000), "cannot be read as an .npz archive"),
        (npy("[" * 90 + "]" * 90), "cannot be read as an .npz archive"),
        (npy((1,), "<f4\x1b[2J"), "cannot be read as an .npz archive"),
        (b"\x93NUMPY\x01\x00\xff\xff", "cannot be read as an .npz archive"),
        (b"", "cannot be read as an .npz archive"),
        (pickle.dumps(Opened(Path("/nowhere"))), "cannot be read as an .npz archive"),
    ],
)
@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
def test_a_part_of_an_archive_that_is_not_what_it_says_is_refused(tmp_path: Path, member: bytes, message: str) -> None:
    path = archive_of(tmp_path / "a.npz", {"x.npy": member})
    assert_refused(message, lambda: Archive(path))


def test_a_bomb_must_be_as_large_as_deflate_allows(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10_000_000, np.uint8))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (2**31).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content)
    assert_refused("that expand to 2147483648: impossible", lambda: Archive(tmp_path / "a.npz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_without_limit_is_refused(tmp_path: Path, method: int) -> None:
    path = archive_of(tmp_path / "a.npz", {"x.npy": npy((10**8,), "|u1", bytes(10**6))}, method)
    assert_refused("x.npy: compression method .*: expected none or deflate", lambda: Archive(path))


def test_parts_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    content = npy((50_000,), "|u1", np.random.default_rng(0).bytes(50_000))
    path = archive_of(tmp_path / "a.npz", {"x.npy": content, "y.npy": b""})
    whole = path.read_bytes()
    first = whole.index(b"PK\x01\x02")
    second = whole.index(b"PK\x01\x02", first + 4)
    end = whole.index(b"PK\x05\x06")
    twice = whole[:first] + whole[first:second] * 2 + whole[end:]
    path.write_bytes(twice)
    assert_refused("parts of .* bytes: expected no more than the file's", lambda: Archive(path))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    np.savez(tmp_path / "a.npz", x=np.array([Opened(touched)], object))
    np.save(tmp_path / "b.npy", np.array([Opened(touched)], object), allow_pickle=True)
    (tmp_path / "c.npz").write_bytes(pickle.dumps(Opened(touched)))
    for name in ("a.npz", "b.npy", "c.npz"):
        with pytest.raises(DataError, match=name):
            Archive(tmp_path / name)
    assert not touched.exists()
    pickle.loads(pickle.dumps(Opened(touched)))
    assert touched.exists(), "the trap does not work"


@pytest.mark.parametrize("is_gzipped", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x08\x03" + b"\xff" * 12, r"16 bytes: expected \d+ for shape \[4294967295, 4294967295, 4294967295\]"),
        (b"\0\0\x08\x02" + b"\x80\0\0\0" * 2, "expected 4611686018427387916"),
        (b"\0\0\x08\x04" + b"\0\x01\0\0" * 4, "20 bytes: expected 18446744073709551636"),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "expected an IDX file of unsigned bytes"),
        (b"\0\0\x08\x01\0\0\0\x05" + b"x" * 6, r"more than 13 bytes: expected 13 for shape \[5\]"),
        (b"\0\0\x08", "begins with 00 00 08: expected an IDX file"),
        (b"", "begins with : expected an IDX file"),
    ],
)
def test_an_idx_file_that_is_not_what_it_says_is_refused(
    tmp_path: Path, content: bytes, message: str, is_gzipped: bool
) -> None:
    path = tmp_path / ("images.gz" if is_gzipped else "images")
    path.write_bytes(gzip.compress(content) if is_gzipped else content)
    assert_refused(message, lambda: read_idx(path))


def test_of_a_gzipped_bomb_no_more_is_held_than_its_header_says(tmp_path: Path) -> None:
    bomb = b"\0\0\x08\x01\0\0\0\x05" + bytes(100_000_000)
    (tmp_path / "images.gz").write_bytes(gzip.compress(bomb, 1))
    assert_refused("more than 13 bytes: expected 13", lambda: read_idx(tmp_path / "images.gz"))


def test_a_picture_larger_than_it_should_be_is_not_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(file := io.BytesIO(), "JPEG")
    content = bytearray(file.getvalue())
    frame = content.index(b"\xff\xc0")
    for size in (b"\xff\xff\xff\xff", b"\x20\x00\x20\x00"):
        content[frame + 5 : frame + 9] = size
        arrays = {
            "header": np.frombuffer(bytes(content[:20]), np.uint8),
            "body": np.frombuffer(bytes(content[20:]), np.uint8),
            "offset": np.array([0, len(content) - 20]),
            "label": np.zeros(1, np.uint8),
        }
        np.savez(tmp_path / "a.npz", **arrays)
        assert_refused(
            r"a\.npz: image 0: ", lambda: import_cifar10(tmp_path / "a.npz", tmp_path / "out.h5", n_train=-1)
        )


def test_positions_that_overflow_are_refused(tmp_path: Path) -> None:
    arrays = {name: np.zeros(9, np.uint8) for name in ("header", "body", "label")}
    for offset in (np.array([0, 2**63 - 1, -(2**63) + 5, 9]), np.array([0, 2**64 - 1, 9], np.uint64)):
        np.savez(tmp_path / "a.npz", **arrays, offset=offset)
        assert_refused(
            "expected positions from 0 to 9",
            lambda: import_cifar10(tmp_path / "a.npz", tmp_path / "out.h5", n_train=1),
        )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([b"\xff", b"a"]), "f: labels: cannot be read as text"),
        (np.frombuffer(b"\x00\xd8\x00\x00", "<U1"), "f: labels: cannot be read as text"),
        (np.frombuffer(b"\xff\xff\xff\x7f", "<U1"), "f: labels: cannot be read as text"),
        (np.array([1e300, 1.0]), r"labels\[0\] = 1e\+300: expected whole numbers or text"),
        (np.array([np.inf, 1.0]), r"labels\[0\] = inf: expected whole numbers or text"),
        (np.array([1j]), "labels: complex128: expected numbers or text"),
        (np.array(["2020-02-29"], "datetime64[D]"), r"labels: datetime64\[D\]: expected numbers or text"),
    ],
)
def test_labels_that_are_none_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_labels("f", (labels,))
