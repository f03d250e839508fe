"""HDF5 can do more than a container needs: whatever of it a file has is refused before HDF5 opens the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.container.file import container_kind
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.dataset.file import load_dataset, load_samples, read_info

SECRET = b"what another file holds"
SHAPE = (7,)


def readers_of(ctx: ParallelContext, name: str) -> list[Callable[[Path], Any]]:
    """All that open a file of this kind."""
    if name in ("DENSE", "SPARSE"):
        return [
            container_kind,
            read_info,
            lambda path: load_samples(path, "train"),
            lambda path: load_dataset(ctx, path),
        ]
    return [container_kind, read_checkpoint_info, read_replicas, lambda path: read_checkpoint(ctx, path, replica=0)]


def soft_link(file: h5py.File, name: str) -> None:
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def external_link(file: h5py.File, name: str) -> None:
    with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
        other["array"] = file[name][()]
    del file[name]
    file[name] = h5py.ExternalLink("other.h5", "/array")


def external_storage(file: h5py.File, name: str) -> None:
    (other := Path(file.filename).with_name("secret")).write_bytes(SECRET * 100)
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(str(other), 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, name: str) -> None:
    with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
        other["array"] = file[name][()]
    layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
    layout[...] = h5py.VirtualSource("other.h5", "array", file[name].shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def made_anew(**options: Any) -> Callable[[h5py.File, str], None]:
    """Replace an array by one of the same values that is stored in another way."""

    def change(file: h5py.File, name: str) -> None:
        values = file[name][()]
        del file[name]
        file.create_dataset(name, **({"data": values} | options))

    return change


def compact(file: h5py.File, name: str) -> None:
    values = file[name][()]
    del file[name]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space, kind = h5py.h5s.create_simple(values.shape), h5py.h5t.py_create(values.dtype)
    h5py.h5d.create(file.id, name.encode(), kind, space, plist, lcpl=h5py.Group(file.id)._lcpl)


def never_written(file: h5py.File, name: str) -> None:
    del file[name]
    file.create_dataset(name, (10**12,), np.float32)


def named_type(file: h5py.File, name: str) -> None:
    values = file[name][()]
    del file[name]
    file["type"] = values.dtype
    file.create_dataset(name, data=values, dtype=file["type"])


def type_alone(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = np.dtype(np.float32)


def scalar(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = 1.0


def of_nothing(file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.Empty("f4")


def shared_with_another(file: h5py.File, name: str) -> None:
    file["twin"] = file[name]


def in_circles(file: h5py.File, name: str) -> None:
    file[f"{name.rpartition('/')[0]}/circle"] = file["/"]


def deep(file: h5py.File, name: str) -> None:
    file.create_group("/".join("abcdefghijkl"))


def ordered(file: h5py.File, name: str) -> None:
    file.create_group("ordered", track_order=True)


OWN_TYPE = np.dtype([("a", "f4"), ("b", "i4")])
STRUCTURES: dict[str, tuple[Callable[[h5py.File, str], None], str]] = {
    "soft link": (soft_link, "has a soft link: expected hard links only"),
    "external link": (external_link, "has an external link: expected hard links only"),
    "external storage": (external_storage, r"has its bytes in other files \(external storage\)"),
    "virtual": (virtual, r"is stored in other arrays \(virtual\)"),
    "compact": (compact, "is stored compactly in its header: expected contiguously"),
    "chunks": (made_anew(chunks=(1,)), "is stored in chunks: expected contiguously"),
    "can grow": (made_anew(maxshape=(None,), chunks=(1,)), "can grow to"),
    "gzip": (made_anew(compression="gzip", chunks=(1,)), "in chunks|compression or another filter"),
    "bomb": (made_anew(data=np.zeros(10**7, "u1"), compression="gzip"), "expected no length above"),
    "huge chunks": (made_anew(data=None, shape=(10**12,), dtype="f4", chunks=(10**6,)), "expected no length above"),
    "never written": (never_written, "expected no length above"),
    "named type": (named_type, "neither a group nor a complete array|expected it unshared|several links to it"),
    "type alone": (type_alone, "neither a group nor a complete array"),
    "scalar": (scalar, r"for \[\], an array"),
    "nothing": (of_nothing, "expected one element or an array"),
    "hard links": (shared_with_another, "several links to it|overlap something else"),
    "circle": (in_circles, "several links to it|overlap something else"),
    "deep": (deep, "groups in groups: expected at most 8"),
    "ordered": (ordered, "expected no order of creation"),
    "compound": (made_anew(data=np.zeros(SHAPE, OWN_TYPE)), "elements of type compound"),
    "opaque": (made_anew(data=np.zeros(SHAPE, "V3")), "elements of type opaque"),
    "complex": (made_anew(data=np.zeros(SHAPE, "c8")), "elements of type compound"),
    "boolean": (made_anew(data=np.zeros(SHAPE, "?")), "elements of type enumeration"),
    "big-endian": (made_anew(data=np.zeros(SHAPE, ">f4")), "expected integers or floats as the processor has them"),
    "half": (made_anew(data=np.zeros(SHAPE, "f2")), "expected integers or floats as the processor has them"),
    "array": (made_anew(data=None, shape=SHAPE, dtype=np.dtype(("f8", (1,)))), "elements of type array"),
    "texts": (made_anew(data=["a"] * 7, dtype=h5py.string_dtype()), "elements of type of variable length"),
    "lists": (made_anew(data=None, shape=SHAPE, dtype=h5py.vlen_dtype("f4")), "elements of type of variable length"),
    "reference": (made_anew(data=None, shape=SHAPE, dtype=h5py.ref_dtype), "elements of type reference"),
}
ATTRIBUTES: dict[str, tuple[Any, str]] = {
    "array": (np.zeros(3), "expected a single number or text"),
    "array of one": (np.zeros(1), "expected a single number or text"),
    "text": ("of any length", "of variable length"),
    "nothing": (h5py.Empty("f4"), "expected one element or an array"),
    "boolean": (np.bool_(True), "elements of type enumeration"),
    "compound": (np.zeros((), OWN_TYPE), "elements of type compound"),
    "big-endian": (np.array(1, ">i8"), "expected integers or floats as the processor has them"),
}


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    ("name", "array"),
    [("DENSE", "statistics/mean"), ("REDUCED", "statistics/mean"), ("REDUCED_V4", "front_end/standardize/mean")],
)
def test_arrays_and_links_of_other_kinds_are_refused(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], name: str, array: str, structure: str
) -> None:
    path = Path(shutil.copy(golden[name], tmp_path / "hostile.h5"))
    change, message = STRUCTURES[structure]
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        change(file, array)
    for read in readers_of(ctx, name):
        with pytest.raises(FileFormatError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize(
    ("name", "owner"),
    [
        *(("REDUCED", owner) for owner in ("/", "metrics", "statistics/mean")),
        *(("REDUCED_V4", owner) for owner in ("/", "run", "front_end/standardize/mean")),
    ],
)
def test_attributes_of_other_kinds_are_refused(
    ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any], name: str, owner: str, attribute: str
) -> None:
    path = Path(shutil.copy(golden[name], tmp_path / "hostile.h5"))
    value, message = ATTRIBUTES[attribute]
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        file[owner].attrs["of other kind"] = value
    for read in readers_of(ctx, name):
        with pytest.raises(FileFormatError, match=message) as caught:
            read(path)
        assert f'hostile.h5: {owner}: attribute "of other kind"' in str(caught.value)


def test_a_layer_that_stands_for_many_is_refused(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> None:
    path = Path(shutil.copy(golden["CHECKPOINT"], tmp_path / "hostile.h5"))
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        for number in range(2, 1000):
            file[f"layers/{number:04d}"] = file["layers/0001"]
    for read in readers_of(ctx, "CHECKPOINT"):
        with pytest.raises(FileFormatError, match=r"hostile\.h5: layers/\d+: .*expected"):
            read(path)


def test_a_file_of_endless_structure_is_refused(
    tmp_path: Path, golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    container_kind(golden["CHECKPOINT"])
    monkeypatch.setattr("hpc_sparse.storage.container.plain_hdf5.blocks.MOST_METADATA", 4000)
    with pytest.raises(FileFormatError, match="more than 4000 bytes of structure"):
        container_kind(golden["CHECKPOINT"])


@pytest.mark.parametrize("version", ["earliest", "v108"])
def test_layouts_without_checksums_are_refused(tmp_path: Path, version: str) -> None:
    with h5py.File(tmp_path / "old.h5", "w", libver=(version, "v108")) as file:
        file["x"] = [1]
    with pytest.raises(FileFormatError, match=r"superblock: version [02]: expected 3: not a file of hpc_sparse"):
        container_kind(tmp_path / "old.h5")


def test_a_file_that_is_still_open_for_writing_is_refused(tmp_path: Path, golden: dict[str, Any]) -> None:
    content = bytearray(golden["DENSE"].read_bytes())
    content[11] = 1
    (tmp_path / "open.h5").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"flags \(0: closed by its writer\) = 01"):
        container_kind(tmp_path / "open.h5")
