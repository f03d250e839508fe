"""What version 2 added to checkpoints is checked as the rest: removed neurons, replicas, unfinished epochs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hpc_sparse.checks import check_ids
from hpc_sparse.errors import FileFormatError
from hpc_sparse.models.inspection import describe_file
from hpc_sparse.parallel.context import ParallelContext
from hpc_sparse.storage.checkpoint.file import read_checkpoint, read_replicas, write_checkpoint
from hpc_sparse.storage.checkpoint.info import read_checkpoint_info
from hpc_sparse.storage.checkpoint.replicas import NO_REPLICA, count_replicas
from hpc_sparse.storage.container.hdf5 import LIBRARY_VERSIONS

Rewrite = Callable[[Path, str, Any], None]


@pytest.fixture
def copy_of(tmp_path: Path, golden: dict[str, Any]) -> Callable[[str], Path]:
    """A copy of a golden file, to be spoilt."""
    return lambda name: Path(shutil.copy(golden[name], tmp_path / "wrong.h5"))


def set_attribute(path: Path, group: str, name: str, value: Any) -> None:
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        file.require_group(group).attrs[name] = value


def assert_refused(ctx: ParallelContext, path: Path, message: str) -> None:
    """Refused with this message by all who read the file's layers."""
    with h5py.File(path, "r") as file:
        n_replicas = file.attrs["n_replicas"]
    readers = [lambda: read_replicas(path), lambda: read_checkpoint(ctx, path, replica=0 if n_replicas else None)]
    for read in readers:
        with pytest.raises(FileFormatError, match=message) as caught:
            read()
        assert "wrong.h5" in str(caught.value)


def test_a_lone_replica_comes_back(ctx: ParallelContext, tmp_path: Path, golden: dict[str, Any]) -> None:
    write_checkpoint(ctx, tmp_path / "c.h5", golden["replica_checkpoint"](0))
    found = read_checkpoint(ctx, tmp_path / "c.h5", replica=0)
    for layer, made in zip(found.layers, golden["replica_checkpoint"](0).layers, strict=True):
        assert (layer.shape, layer.activation) == (made.shape, made.activation)
        for name, array in made.arrays().items():
            np.testing.assert_array_equal(layer.arrays()[name], array)
    assert (found.replica, read_checkpoint_info(tmp_path / "c.h5").n_replicas) == (0, 1)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("neurons/0000", np.array([0, 2, 2, 6], np.int32), r"neurons/0000\[2\] = 2: must be greater than 2"),
        ("neurons/0001", np.array([-1, 2, 4], np.int32), r"neurons/0001\[0\] = -1: must be >= 0"),
        ("neurons/0001", np.array([1, 2], np.int32), r"neurons/0001: is int32\[2\], expected int32\[3\]"),
        ("neurons/0001", np.array([1, 2, 4]), r"neurons/0001: is int64\[3\], expected int32\[3\]"),
        ("neurons/0003", np.array([1, 2, 4], np.int32), "neurons/0003: expected at most 0000 to 0002"),
        ("neurons/0000", np.array([0, 2, 3, 7], np.int32), "neurons/0000: input 7: must be < 7, the features"),
        ("statistics/mean", np.zeros(6, np.float32), r"statistics/deviation: is float32\[7\], expected float32\[6\]"),
        ("progress", np.zeros((2, 2)), r"progress: is float64\[2, 2\], expected float64\[3, any\]"),
        ("progress", np.zeros((3, 2), np.float32), r"progress: is float32\[3, 2\], expected float64"),
    ],
)
@pytest.mark.parametrize("kind", ["REDUCED", "REPLICAS"])
def test_wrong_arrays_of_all_ranks_are_named(
    ctx: ParallelContext,
    copy_of: Callable[[str], Path],
    rewrite: Rewrite,
    kind: str,
    name: str,
    array: Any,
    message: str,
) -> None:
    path = copy_of(kind)
    rewrite(path, name, array)
    assert_refused(ctx, path, message)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("n_connections", np.array([5, -1]), "n_connections: -1: must be >= 0"),
        ("n_connections", np.array([5, 1, 0]), r"is int64\[3\], expected int64\[2\]"),
        ("n_connections", np.array([2**62, 2**62]), r"indices: is int32\[6\], expected int32\[9223372036854775808\]"),
        ("n_connections", np.array([4, 2]), "replica 0: replica_layers/0000: indptr: runs from 0 to 5"),
        ("indptr", np.zeros((2, 5), np.int64), r"indptr: is int64\[2, 5\], expected int64\[2, 4\]"),
        ("bias", np.zeros((1, 3), np.float32), r"bias: is float32\[1, 3\], expected float32\[2, 3\]"),
        ("weight", np.full(6, np.nan, np.float32), r"replica 0: replica_layers/0000/weight\[0\] = nan"),
        ("indices", np.array([0, 1, 2, 4, 2, 3], np.int32), "replica 0: replica_layers/0000: indices: 4 in row 1"),
    ],
)
def test_wrong_arrays_of_replicas_are_named(
    ctx: ParallelContext, copy_of: Callable[[str], Path], rewrite: Rewrite, name: str, array: Any, message: str
) -> None:
    path = copy_of("REPLICAS")
    rewrite(path, f"replica_layers/0000/{name}", array)
    assert_refused(ctx, path, message)


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        ("/", "n_replicas", 2**60, r"n_connections: is int64\[2\], expected int64\[1152921504606846976\]"),
        ("/", "n_replicas", -2, "n_replicas = -2: expected an integer >= 0"),
        ("/", "step_in_epoch", -1, "step_in_epoch = -1: expected an integer >= 0"),
        ("/", "step_in_epoch", 0.5, "step_in_epoch = 0.5"),
        ("replica_layers/0000", "n_out", 2**40, "4 x 1099511627776 neurons: expected at most 2147483647"),
        ("replica_layers/0000", "n_out", 2**30, "replica_layers/0001: n_in = 3: expected 1073741824"),
        ("replica_layers/0001", "n_out", 2**30, r"expected int64\[2, 1073741825\]"),
        ("replica_layers/0003", "n_out", 3, "0000, 0001, 0003: expected at least one, numbered from 0000 on"),
        ("target_connections", "0001", 10, "target_connections: 10 in layer 1: more than"),
        ("target_connections", "0001", -1, "0001 = -1: expected an integer >= 0"),
    ],
)
def test_wrong_attributes_are_named(
    ctx: ParallelContext, copy_of: Callable[[str], Path], group: str, name: str, value: Any, message: str
) -> None:
    path = copy_of("REPLICAS")
    set_attribute(path, group, name, value)
    assert_refused(ctx, path, message)


@pytest.mark.parametrize(
    ("group", "name"), [("/", "n_replicas"), ("/", "step_in_epoch"), ("target_connections", "0000")]
)
def test_version_2_must_say_what_version_1_did_not(
    ctx: ParallelContext, copy_of: Callable[[str], Path], group: str, name: str
) -> None:
    path = copy_of("REDUCED")
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        del file[group].attrs[name]
    with pytest.raises(FileFormatError, match=f'attribute "{name}" of {group}'):
        read_checkpoint(ctx, path)
    with pytest.raises(FileFormatError, match=f'attribute "{name}" of {group}'):
        read_checkpoint_info(path)


@pytest.mark.parametrize(
    ("name", "replica", "message"),
    [
        ("REPLICAS", None, "holds 2 replicas of a run in progress"),
        ("REPLICAS", 2, "replica 2 asked for: expected one of the 2"),
        ("REPLICAS", -2, "replica -2 asked for"),
        ("REDUCED", 0, "replica 0 asked for: expected one of the 0"),
        ("REDUCED", NO_REPLICA, "replica -1 asked for"),
        ("CHECKPOINT", 0, "replica 0 asked for"),
    ],
)
def test_a_replica_that_is_not_there_is_named(
    ctx: ParallelContext, golden: dict[str, Any], name: str, replica: int | None, message: str
) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_checkpoint(ctx, golden[name], replica=replica)


def test_damage_of_one_replica_is_noticed_by_who_reads_another(
    ctx: ParallelContext, copy_of: Callable[[str], Path]
) -> None:
    path = copy_of("REPLICAS")
    with h5py.File(path, "a", libver=LIBRARY_VERSIONS) as file:
        file["replica_layers/0001/weight"][0] += 1
    for replica in (0, 1, NO_REPLICA):
        with pytest.raises(FileFormatError, match="replica_layers/0001/weight: damaged"):
            read_checkpoint(ctx, path, replica=replica)


def test_replicas_are_counted_only_if_each_is_held_once() -> None:
    assert [count_replicas(held) for held in ([None, None], [NO_REPLICA, 1, 0], [0])] == [0, 2, 1]
    for held in ([None, 0], [0, 0], [1, NO_REPLICA], [NO_REPLICA], [0, 2]):
        with pytest.raises(AssertionError, match="of the ranks"):
            count_replicas(held)


def test_ids_increase_from_0_on() -> None:
    for ids in ([], [0], [5], [0, 1, 7]):
        check_ids("x", np.array(ids, np.int32), error=FileFormatError)
    for ids in ([-1, 2], [0, 1, 1], [3, 2]):
        with pytest.raises(FileFormatError, match=r"^x\["):
            check_ids("x", np.array(ids, np.int32), error=FileFormatError)


def test_info_tells_replicas_removed_neurons_and_the_unfinished_epoch(golden: dict[str, Any]) -> None:
    about = describe_file(golden["REPLICAS"])
    assert (about["n_replicas"], about["step_in_epoch"], about["format_version"]) == (2, 17, 2)
    assert (about["reduced_layers"], about["target_connections"]) == ([0, 1], [5, 7])
    assert (about["n_neurons"], about["n_connections"]) == (10, 6)
