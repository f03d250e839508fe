"""Checkpoints of format 4 with wrong content, checksums right: refused with the file, the thing, its value."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.errors import FileFormatError, InputError
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.contents import MOST_CONFIG_BYTES
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS
from hpc_sparse.storage.container.word_sum import WORD_SUM

Rewrite = Callable[[Path, str, Any], None]
F4, I4 = np.float32, np.int32
LAST, FIRST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
INPUT_0 = "layers/0/connections/input"

WHOLE_ARRAYS = [
    ("config", np.array([b"a", b"b"]), r"config: is \|S1\[2\], expected text\[1\]"),
    ("config", np.array([b"\xff\xfe"]), r"config: b'\\xff\\xfe': expected text in UTF-8"),
    ("config", np.array([b"#" * (MOST_CONFIG_BYTES + 1)]), "config: 1048577 bytes of text: expected at most 1048576"),
    ("metrics/names", np.array([b"a"]), r"metrics/values: is float64\[2\], expected float64\[1\]"),
    ("metrics/names", np.array([b"a", b"a"]), "metrics/names: 2 names: expected each once"),
    ("metrics/names", np.arange(2), r"metrics/names: is int64\[2\], expected text\[any\]"),
    ("metrics/values", np.arange(2), r"metrics/values: is int64\[2\], expected float64\[2\]"),
    ("front_end/standardize/mean", np.array([0, 1, 2, np.nan, 4], F4), r"mean\[3\] = nan: must be finite"),
    ("front_end/standardize/deviation", np.array([1, 1, 1, 0, 1], F4), r"deviation\[3\] = 0.0: must be > 0"),
    ("front_end/standardize/deviation", np.zeros(4, F4), r"deviation: is float32\[4\], expected float32\[5\]"),
    ("front_end/other/texts", np.array([b"a"]), r"front_end/other/texts: is \|S1: expected numbers"),
    ("front_end/other/values", np.array([0, np.inf]), r"front_end/other/values\[1\] = inf: must be finite"),
    ("target_connections", np.array([5]), "target_connections: 1 numbers: expected 2"),
    ("target_connections", np.array([5, 13]), "target_connections: 13 in layer 1: more than"),
    ("target_connections", np.array([-1, 3]), "target_connections: -1 in layer 0"),
    ("target_connections", np.zeros(2), r"target_connections: is float64\[2\], expected int64\[any\]"),
    (f"{INPUT_0}/indptr", np.array([0, 2, 2, LAST, 6]), "indptr: falls from 9223372036854775807 to 6 at row 3"),
    (f"{INPUT_0}/indptr", np.array([0, 2, FIRST, 5, 6]), "indptr: falls from 2 to -9223372036854775808 at row 1"),
    (f"{INPUT_0}/indptr", np.array([-1, 2, 2, 5, 6]), f"{INPUT_0}: indptr: runs from -1 to 6: must run from 0 to 6"),
    (f"{INPUT_0}/indptr", np.array([0, 2, 2, 5, 6], I4), r"indptr: is int32\[5\], expected int64\[5\]"),
    (f"{INPUT_0}/indices", np.array([4, 0, 1, 2, 3, 0], I4), f"{INPUT_0}: indices: 0 follows 4 in row 0"),
    (f"{INPUT_0}/indices", np.array([0, 5, 1, 2, 3, 0], I4), "indices: 5 in row 0: must be >= 0 and < 5"),
    (f"{INPUT_0}/indices", np.array([0, 4, 1, 2, 3], I4), r"indices: is int32\[5\], expected int32\[6\]"),
    ("layers/0/parameters/weight", np.array([0, 0, np.nan, 0, 0, 0], F4), r"parameters/weight\[2\] = nan"),
    ("layers/0/parameters/weight", np.zeros((2, 3), F4), r"weight: is float32\[2, 3\], expected float32\[6\]"),
    ("layers/0/parameters/weight", np.zeros(6), r"weight: is float64\[6\], expected float32\[6\]"),
    ("layers/0/parameters/bias", np.array([0, 0, 0, -np.inf], F4), r"layers/0/parameters/bias\[3\] = -inf"),
    ("layers/1/states/weight_velocity", np.full(12, np.inf, F4), r"states/weight_velocity\[0\] = inf"),
    ("layers/1/states/weight_velocity", np.zeros(11, F4), r"is float32\[11\], expected float32\[12\]"),
    (
        "layers/1/states/other",
        np.zeros(12, F4),
        "layers/1/states/other: expected a name that begins with one of weight",
    ),
    ("layers/2/parameters/weight", np.zeros(6, F4), "layers: 0, 1, 2: expected 0, 1, 2 layers"),
    ("layers/0/connections/other/indptr", np.zeros(6), "layers/0: connections input, other: expected input"),
]
WHOLE_ATTRIBUTES = [
    ("run", "best_value", "high", "run: best_value = 'high': expected a number"),
    ("run", "epoch", np.uint64(2**64 - 1), "run: epoch = 18446744073709551615: expected an integer >= 0"),
    ("run", "epoch", 1.0, "run: epoch = 1.0: expected an integer >= 0"),
    ("run", "step_in_epoch", -1, "step_in_epoch = -1: expected an integer >= 0"),
    ("run", "n_ranks", 0, "run: n_ranks = 0: expected an integer >= 1"),
    ("run", "n_replicas", -2, "n_replicas = -2: expected an integer >= 0"),
    ("run", "n_replicas", 2**60, "input/n_units: missing or damaged"),
    ("layers", "n_layers", 0, "layers: n_layers = 0: expected an integer >= 1"),
    ("layers", "n_layers", 3, "layers: 0, 1: expected 0, 1, 2, 3 layers"),
    ("layers", "n_layers", 2**62, "layers: n_layers = 4611686018427387904: expected at most 4096"),
    ("layers/0", "kind", "folded", 'layers/0: layer of kind "folded": expected one of sparse'),
    ("layers/0", "kind", "\x1b[2J\n", r'layers/0: layer of kind "\\x1b\[2J\\n": expected one of'),
    ("layers/0", "n_out", 2**31, "5 x 2147483648 neurons: expected at most 2147483647"),
    ("layers/0", "n_out", 2**63, "n_out = 9223372036854775808: expected an integer >= 1"),
    ("layers/0", "n_out", 3, "layers/1: n_in = 4: expected 3, what comes before it gives"),
    (INPUT_0, "kind", "woven", f'{INPUT_0}: connections of kind "woven": expected one of csr, dense, reserve'),
    (INPUT_0, "kind", "dense", f"{INPUT_0}: 6 dense connections: expected 20, all there are"),
    (INPUT_0, "n_units", 2**62, r"expected int32\[4611686018427387904\]"),
    (INPUT_0, "n_units", -1, "n_units = -1: expected an integer >= 0"),
    (INPUT_0, "n_out", 3, f'attribute "n_in" of {INPUT_0}'),
    (f"{INPUT_0}/settings", "stride", 2, f"{INPUT_0}: csr: setting stride: expected none"),
    ("layers/0/settings", "gates", "3", "layers/0/parameters: sparse: setting gates: expected none"),
    ("layers/0/parameters/weight", WORD_SUM, np.inf, f"parameters/weight: {WORD_SUM} = inf: expected an integer"),
    ("layers/0/parameters/weight", WORD_SUM, np.uint64(7), "parameters/weight: damaged"),
]
REDUCED_ARRAYS = [
    ("neurons/0", np.array([0, 2, 2, 6], I4), r"neurons/0\[2\] = 2: must be greater than 2"),
    ("neurons/1", np.array([-1, 2, 4], I4), r"neurons/1\[0\] = -1: must be >= 0"),
    ("neurons/1", np.array([1, 2], I4), r"neurons/1: is int32\[2\], expected int32\[3\]"),
    ("neurons/1", np.array([1, 2, 4]), r"neurons/1: is int64\[3\], expected int32\[3\]"),
    ("neurons/3", np.array([1, 2, 4], I4), "neurons/3: expected the number of one of 3 layers of neurons"),
    ("neurons/0", np.array([0, 2, 3, 7], I4), "neurons/0: input 7: must be < 7, the features"),
    ("front_end/standardize/mean", np.zeros(6, F4), r"deviation: is float32\[7\], expected float32\[6\]"),
    ("progress/sums", np.zeros((2, 2)), r"progress/sums: is float64\[2, 2\], expected float64\[3, 2\]"),
    ("progress/sums", np.zeros((3, 2), F4), r"progress/sums: is float32\[3, 2\], expected float64"),
    ("progress/names", np.array([b"a"]), r"progress/sums: is float64\[3, 2\], expected float64\[3, 1\]"),
    ("progress/names", np.array([b"a", b"a"]), "progress/names: 2 names: expected each once"),
]
REPLICA_ARRAYS = [
    (f"{INPUT_0}/n_units", np.array([5, -1]), "n_units: -1: must be >= 0"),
    (f"{INPUT_0}/n_units", np.array([5, 1, 0]), r"is int64\[3\], expected int64\[2\]"),
    (f"{INPUT_0}/n_units", np.array([2**62, 2**62]), r"indices: is int32\[6\], expected int32\[9223372036854775808\]"),
    (f"{INPUT_0}/n_units", np.array([4, 2]), f"replica 0: {INPUT_0}: indptr: runs from 0 to 5"),
    (f"{INPUT_0}/indptr", np.zeros((2, 4), np.int64), r"indptr: is int64\[2, 4\], expected int64\[8\]"),
    (f"{INPUT_0}/indices", np.array([0, 1, 2, 4, 2, 3], I4), f"replica 0: {INPUT_0}: indices: 4 in row 1"),
    ("layers/0/parameters/bias", np.zeros(3, F4), r"bias: is float32\[3\], expected float32\[6\]"),
    ("layers/0/parameters/weight", np.full(6, np.nan, F4), r"replica 0: layers/0/parameters/weight\[0\] = nan"),
]


@pytest.fixture
def spoilt(tmp_path: Path, golden: dict[str, Any]) -> Callable[[str], Path]:
    """A copy of a golden file, to be spoilt."""
    return lambda name: Path(shutil.copy(golden[name], tmp_path / "wrong.h5"))


def assert_refused(ctx: ParallelContext, path: Path, message: str, replica: int | None = None) -> None:
    """Refused with one readable message by all who read the layers."""
    for read in (lambda: read_checkpoint(ctx, path, replica=replica), lambda: read_replicas(path)):
        with pytest.raises(InputError, match=message) as caught:
            read()
        assert "wrong.h5" in str(caught.value)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("name", "array", "message"), WHOLE_ARRAYS)
def test_a_wrong_array_is_named(
    ctx: ParallelContext, spoilt: Callable[[str], Path], rewrite: Rewrite, name: str, array: Any, message: str
) -> None:
    path = spoilt("WHOLE_V4")
    rewrite(path, name, array)
    assert_refused(ctx, path, message)


@pytest.mark.parametrize(("name", "array", "message"), REDUCED_ARRAYS)
def test_a_wrong_array_of_a_reduced_network_is_named(
    ctx: ParallelContext, spoilt: Callable[[str], Path], rewrite: Rewrite, name: str, array: Any, message: str
) -> None:
    path = spoilt("REDUCED_V4")
    rewrite(path, name, array)
    assert_refused(ctx, path, message)


@pytest.mark.parametrize(("name", "array", "message"), REPLICA_ARRAYS)
def test_a_wrong_array_of_replicas_is_named(
    ctx: ParallelContext, spoilt: Callable[[str], Path], rewrite: Rewrite, name: str, array: Any, message: str
) -> None:
    path = spoilt("REPLICAS_V4")
    rewrite(path, name, array)
    assert_refused(ctx, path, message, replica=0)


@pytest.mark.parametrize(("owner", "name", "value", "message"), WHOLE_ATTRIBUTES)
def test_a_wrong_attribute_is_named(
    ctx: ParallelContext, spoilt: Callable[[str], Path], owner: str, name: str, value: Any, message: str
) -> None:
    path = spoilt("WHOLE_V4")
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        held = file[owner] if owner in file else file.create_group(owner)
        if isinstance(value, str):
            held.attrs.create(name, value.encode(), dtype=h5py.string_dtype("utf-8", len(value.encode())))
        else:
            held.attrs[name] = value
    assert_refused(ctx, path, message)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("layers/0/parameters/bias", "layers/0/parameters/bias: missing or damaged"),
        ("layers/0/connections/input/indptr", "input/indptr: missing or damaged"),
        ("layers/0/connections", "layers/0/connections: missing or damaged"),
        ("layers/1", "layers: 0: expected 0, 1, 2 layers"),
        ("run", "attributes of run: missing or damaged"),
        ("config", "config: missing or damaged"),
        ("metrics/values", "metrics/values: missing or damaged"),
        ("front_end/standardize/mean", "only one of mean and deviation: expected both or none"),
    ],
)
def test_what_is_missing_is_named(
    ctx: ParallelContext, spoilt: Callable[[str], Path], place: str, message: str
) -> None:
    path = spoilt("WHOLE_V4")
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        del file[place]
    assert_refused(ctx, path, message)


@pytest.mark.parametrize("name", ["epoch", "step", "step_in_epoch", "n_ranks", "n_replicas"])
def test_every_counter_must_be_there(ctx: ParallelContext, spoilt: Callable[[str], Path], name: str) -> None:
    path = spoilt("WHOLE_V4")
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        del file["run"].attrs[name]
    assert_refused(ctx, path, f'attribute "{name}" of run')
    with pytest.raises(FileFormatError, match=f'attribute "{name}" of run'):
        read_checkpoint_info(path)


def test_a_group_in_place_of_an_array_is_refused(ctx: ParallelContext, spoilt: Callable[[str], Path]) -> None:
    path = spoilt("WHOLE_V4")
    with h5py.File(path, "r+", libver=LIBRARY_VERSIONS) as file:
        del file["layers/1/parameters/bias"]
        file.create_group("layers/1/parameters/bias")
    assert_refused(ctx, path, "layers/1/parameters/bias: is not an array")


def test_damage_of_one_replica_is_noticed_by_who_reads_another(
    ctx: ParallelContext, spoilt: Callable[[str], Path]
) -> None:
    path = spoilt("REPLICAS_V4")
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        file["layers/1/parameters/weight"][0] += 1
    for replica in (0, 1, NO_REPLICA):
        with pytest.raises(FileFormatError, match="layers/1/parameters/weight: damaged"):
            read_checkpoint(ctx, path, replica=replica)
